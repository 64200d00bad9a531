"""In-memory images as frames: arrays, tensors and PIL images."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.video_info import SourceInfo

from .source import Source

Array = NDArray[Any]
# PIL modes with gray pixels. PIL converts all others to RGB, except those without a fixed white level.
PIL_GRAY = ("1", "L", "LA")
PIL_GRAY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
PIL_WITHOUT_WHITE = ("I", "F")


class Frames(Source):
    """A source over images in memory, of any kind that `as_bgr` accepts.

    Args:
        images: any iterable; each image is copied, so the caller may reuse its buffer.
        rate: frames per second, used for the frames' timestamps.
        live: behave like a camera (stale frames are replaced instead of queued).
        rgb: arrays and tensors are in RGB order.

    Raises:
        SourceError: the rate is not above 0; while iterating, an item is not such an image, or it is closed.
    """

    def __init__(
        self,
        images: Iterable[Any],
        rate: Fraction | float = 30,
        *,
        live: bool = False,
        rgb: bool = False,
    ) -> None:
        if not 0 < rate < math.inf:
            raise SourceError(f"the rate of frames is above 0, got {rate}")
        self._images, self._rgb, self._closed = images, rgb, threading.Event()
        rate = Fraction(rate).limit_denominator(100_000)
        self.info = SourceInfo(name="frames", rate=rate, live=live)

    def close(self) -> None:
        """End the iteration before its next image."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        if self._closed.is_set():
            raise SourceError(f"{self.info.name}: closed; open it again")
        time_base = 1 / Fraction(self.info.rate or 30)
        for index, image in enumerate(self._images):
            if self._closed.is_set():
                return
            try:
                frame = Frame(as_bgr(image, rgb=self._rgb), index, index, time_base, time.monotonic())
            except ValueError as error:
                raise SourceError(f"frame {index}: {error}") from error
            yield frame


def as_bgr(picture: Any, *, rgb: bool = False) -> Image:
    """Return a contiguous uint8 BGR copy of ``picture``, H x W x 3.

    White is 255 for uint8, 65535 for uint16 (scale 12-bit camera data first), and 1 for floating point.
    Slight overshoot from interpolation is clipped.

    Args:
        picture: an array H x W, H x W x 1, x 3 or x 4 (the fourth channel is alpha and ignored), a `cv2.UMat`
            of such an array, a PyTorch tensor of that shape or C x H x W on any device, or a PIL image of any
            mode with a fixed white level.
        rgb: an array or tensor is in RGB instead of BGR order; ignored for PIL images, which state their
            channel order.

    Raises:
        ValueError: it is anything else; the message says what.
    """
    pil = sys.modules.get("PIL.Image")  # a PIL image or tensor exists only if its library is imported
    torch = sys.modules.get("torch")
    if pil is not None and isinstance(picture, pil.Image):
        array, rgb = _from_pil(picture), True
    elif torch is not None and isinstance(picture, torch.Tensor):
        array = _from_tensor(picture)
    else:
        try:
            array = np.asarray(picture.get() if isinstance(picture, cv2.UMat) else picture)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a picture: {error}") from error
        if array.dtype.kind not in "uifb":
            raise ValueError(f"a frame is an array, a tensor or a PIL picture, got {type(picture).__name__}")
    return _bgr(_uint8(array), rgb=rgb)


def _from_pil(picture: Any) -> Array:
    mode = picture.mode
    if mode in PIL_WITHOUT_WHITE:
        raise ValueError(f"a PIL picture of mode {mode!r} has no fixed white: convert it first")
    if mode == "La":  # gray with premultiplied alpha
        picture = picture.convert("LA")
    if mode in (*PIL_GRAY, "La"):
        picture = picture.convert("L")
    elif mode not in PIL_GRAY_16:
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    return array.astype(np.uint16) if mode in PIL_GRAY_16 else array  # the byte order may be swapped


def _from_tensor(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    array: Array = tensor.numpy()
    planes = array.ndim == 3 and array.shape[0] in (1, 3, 4)
    return np.moveaxis(array, 0, 2) if planes else array


def _uint8(array: Array) -> Image:
    if not array.size or array.ndim not in (2, 3):
        raise ValueError(f"a frame is H x W, or H x W x 1, 3 or 4, got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.asarray(
            cv2.convertScaleAbs(np.ascontiguousarray(array), alpha=255 / 65535), np.uint8
        ).reshape(array.shape)
    if array.dtype.kind != "f":
        raise ValueError(f"a frame is uint8, uint16, or floating point from 0 to 1, got {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= -1 and high <= 2):  # written so that NaN fails, too
        raise ValueError(f"a frame of {array.dtype} goes from 0 to 1, got {low:g} to {high:g}")
    return np.rint(np.clip(array, 0, 1) * np.float32(255)).astype(np.uint8)


def _bgr(array: Image, *, rgb: bool) -> Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if channels == 1:
        code = cv2.COLOR_GRAY2BGR
    elif channels == 3 and not rgb:
        return np.array(array, order="C")  # copied because the caller may reuse the buffer before drawing
    elif channels == 3:
        code = cv2.COLOR_RGB2BGR
    elif channels == 4:
        code = cv2.COLOR_RGBA2BGR if rgb else cv2.COLOR_BGRA2BGR
    else:
        raise ValueError(f"a frame has 1, 3 or 4 channels, got {channels}")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), code), np.uint8)
