"""Classical blur detectors: the baselines for the network.

Each takes an image (uint8 BGR H x W x 3) and returns P(blurred), float32 H x W in [0, 1]. A sharpness is
averaged over a window of 21 px. The range from the 20th to the 98th percentile of its logarithm in the same
image is stretched to [0, 1]. So P is relative: these methods know no absolute blur, and they call parts of an
evenly sharp image blurred. The percentiles and floors were chosen on the training list of CUHK.

>>> import numpy as np
>>> laplacian(np.zeros((32, 48, 3), np.uint8)).min()
np.float32(1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

WINDOW = 21
PERCENTILES = (20.0, 98.0)
SMALLEST_RANGE = 1.0  # in nats; a smaller range counts as one sharpness and is not stretched
LBP_THRESHOLD = 0.016

Image = NDArray[np.uint8]
Values = NDArray[np.float32]
Detector = Callable[[Image], Values]

# The eight neighbours as (down, right), in order of their angle.
RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def all_blurred(image: Image) -> Values:
    """Return P = 1 everywhere: it reveals a wrong polarity, and any method must beat it."""
    return np.ones(_checked(image).shape[:2], np.float32)


def laplacian(image: Image) -> Values:
    """Compute P from the variance of the Laplacian in the window.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000:
    mean(L^2) - mean(L)^2 with L the four-neighbour Laplacian.
    """
    response = _float32(cv2.Laplacian(_gray(image), cv2.CV_32F))
    variance = _window_mean(response * response) - _window_mean(response) ** 2
    return _blurred(np.maximum(variance, 0), floor=1e-7)


def sum_modified_laplacian(image: Image) -> Values:
    """Compute P from the mean of the modified Laplacian in the window.

    Nayar and Nakagawa, "Shape from focus", PAMI 1994: |2I - I(left) - I(right)| + |2I - I(up) - I(down)|,
    summed without their noise threshold.
    """
    gray = _gray(image)
    row = np.array([[-1, 2, -1]], np.float32)
    across, down = cv2.filter2D(gray, -1, row), cv2.filter2D(gray, -1, row.T)
    return _blurred(_window_mean(_float32(np.abs(across) + np.abs(down))), floor=1e-4)


def tenengrad(image: Image) -> Values:
    """Compute P from the mean of the squared Sobel gradient in the window.

    Krotkov, "Focusing", IJCV 1987 (after Tenenbaum): Gx^2 + Gy^2, summed without a threshold.
    """
    gray = _gray(image)
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return _blurred(_window_mean(_float32(across * across + down * down)), floor=1e-5)


def lbp(image: Image) -> Values:
    """Compute P from the share of local binary patterns in the window that blurred areas lack.

    Yi and Eramian, "LBP-based segmentation of defocus blur", TIP 2016: rotation-invariant uniform patterns of
    8 neighbours at radius 1, of which bins 6 to 9 (of 0 to 9) count. A neighbour is set if it is .016
    brighter than the centre. Only one scale, without their matting and fusion of scales. The difference keeps
    its sign: its absolute value also marks smooth ramps, and ranked worse on the training list.
    """
    rare = _rare(_neighbours_set(_gray(image)))
    return _blurred(_window_mean(_float32(rare)), floor=1e-2)


def _rare(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where 8 x H x W neighbours, in order of angle, form a pattern of bins 6 to 9."""
    ones = np.sum(bits, axis=0, dtype=np.uint8)
    changes = np.sum(bits ^ np.roll(bits, 1, axis=0), axis=0, dtype=np.uint8)
    return np.asarray((changes > 2) | (ones >= 6), np.bool_)  # more than two changes is bin 9


def _neighbours_set(gray: Values) -> NDArray[np.uint8]:
    """Return which neighbours are set, 8 x H x W in {0, 1}; diagonal ones are interpolated at radius 1."""
    height, width = gray.shape
    wide = np.pad(gray, 1, mode="edge")
    near = np.float32(np.sqrt(0.5))
    far = 1 - near
    bits = np.empty((len(RING), height, width), np.uint8)

    def shifted(down: int, right: int) -> Values:
        return wide[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    for bit, (down, right) in zip(bits, RING, strict=True):
        value = shifted(down, right)
        if down and right:
            sides = shifted(down, 0) + shifted(0, right)
            value = near * near * value + near * far * sides + far * far * gray
        np.greater_equal(value - gray, LBP_THRESHOLD, out=bit.view(np.bool_))
    return bits


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"an image is uint8 H x W x 3 (BGR), got {image.dtype} {image.shape}")
    return image


def _gray(image: Image) -> Values:
    gray = cv2.cvtColor(_checked(image), cv2.COLOR_BGR2GRAY)
    return gray.astype(np.float32) / np.float32(255)


def _window_mean(values: Values) -> Values:
    # BORDER_REFLECT is exact even if the image is smaller than the window; OpenCV then refuses REFLECT_101.
    return _float32(cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT))


def _float32(values: ArrayLike) -> Values:
    return np.asarray(values, np.float32)


def _blurred(sharpness: Values, *, floor: float) -> Values:
    """Convert sharpness >= 0 to P; below ``floor``, the sharpness of noise, differences do not count."""
    logarithm = np.log(np.maximum(sharpness, 0) + np.float32(floor))
    low, high = np.percentile(logarithm, PERCENTILES)
    spread = (logarithm - low) / max(high - low, SMALLEST_RANGE)
    return _float32(1 - np.clip(spread, 0, 1))


CLASSICAL: Mapping[str, Detector] = MappingProxyType(
    {
        "all_blurred": all_blurred,
        "laplacian": laplacian,
        "sum_modified_laplacian": sum_modified_laplacian,
        "tenengrad": tenengrad,
        "lbp": lbp,
    }
)
