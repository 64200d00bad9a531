"""Frames and blur maps: immutable, self-validating data that flows from a source through the engine."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Values = NDArray[np.float32]


class Roi(NamedTuple):
    """A named rectangle in pixels of the upright frame; x and y are its top-left corner."""

    name: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One video frame with its presentation time.

    Attributes:
        image: uint8 BGR H x W x 3, upright; made read-only.
        index: 0 for the first frame of the source; counts every frame it delivered, including dropped ones.
        pts: presentation time in units of ``time_base``.
        time_base: seconds per unit, as a fraction.
        arrived: value of `time.monotonic` when the frame reached this program, in seconds.
    """

    image: Image
    index: int
    pts: int
    time_base: Fraction
    arrived: float

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"a frame is uint8 H x W x 3 (BGR), got {image.dtype} {image.shape}")
        image.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def seconds(self) -> Fraction:
        """Presentation time in seconds."""
        return self.pts * self.time_base


@dataclass(frozen=True, eq=False)
class Radii:
    """Blur radii of a frame at the network's output resolution.

    Attributes:
        log_radius: natural log of the blur radius in pixels of the frame, including the softness of the
            footage, float32 h x w.
        reference: the best sharpness that the footage can reach, as a blur radius in pixels.
        limit: blur radius in pixels above which P(blurred) exceeds 0.5.
        half: blur radius in pixels at which the score is 0.5; it depends only on the width of the frame.
    """

    log_radius: Values
    reference: float
    limit: float
    half: float

    def at(self, size: tuple[int, int]) -> Values:
        """Return the blur radius in pixels of the frame, float32 at ``size`` (width, height)."""
        large = cv2.resize(self.log_radius, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.exp(large), np.float32)


@dataclass(frozen=True, eq=False)
class BlurMap:
    """P(blurred) for every pixel of a frame, or of a downscaled frame, as the network computes it.

    Attributes:
        values: float32 H x W in [0, 1], 0 = in focus, 1 = blurred; owns its memory; made read-only.
        radii: the blur radii that the values are derived from, if the network estimates them.
    """

    values: Values
    radii: Radii | None = None

    def __post_init__(self) -> None:
        values = self.values
        if values.dtype != np.float32 or values.ndim != 2 or not values.size:
            raise ValueError(f"a blur map is float32 H x W, got {values.dtype} {values.shape}")
        if not (values.min() >= 0 and values.max() <= 1):  # false for NaN, too
            raise ValueError("a blur map lies in [0, 1]")
        values.flags.writeable = False

    def at(self, size: tuple[int, int]) -> BlurMap:
        """Return the map at ``size`` (width, height), resized bilinearly, or itself if the size matches."""
        if (self.values.shape[1], self.values.shape[0]) == size:
            return self
        values = np.asarray(cv2.resize(self.values, size, interpolation=cv2.INTER_LINEAR))
        # Interpolating between ones can exceed 1 by a rounding error.
        cv2.threshold(values, 1, 1, cv2.THRESH_TRUNC, dst=values)
        return BlurMap(np.asarray(values, np.float32), self.radii)

    def in_focus_share(self) -> float:
        """Return the share of pixels that are in focus (P < 0.5), 0 to 1."""
        return float((self.values < 0.5).mean())

    def sharpness(self, roi: Roi | None = None) -> float:
        """Return the mean of 1 - P over ``roi`` (clipped to the frame) or the whole frame, 0 to 1.

        Raises:
            ValueError: the ROI lies outside the frame.
        """
        return float(1 - self._inside(self.values, roi).mean())

    def score(self, roi: Roi | None = None) -> float:
        """Return how sharp ``roi`` (clipped to the frame) or the whole frame is, 0 to 1.

        If the network estimates blur radii r, the score is the mean of 1 / (1 + (r / half)^2). It keeps
        rising up to the best focus, even where P is already 0. Otherwise the score equals `sharpness`.

        Raises:
            ValueError: the ROI lies outside the frame.
        """
        if self.radii is None:
            return self.sharpness(roi)
        part = self._inside(self.values, roi)  # the ROI is in pixels of this map
        whole, small = self.values.shape, self.radii.log_radius
        if roi is not None:
            top, left = max(roi.y, 0), max(roi.x, 0)
            rows, columns = (n / whole[i] for i, n in enumerate(small.shape))
            y, x = int(top * rows), int(left * columns)
            below = max(y + 1, round((top + part.shape[0]) * rows))
            small = small[y:below, x : max(x + 1, round((left + part.shape[1]) * columns))]
        ratio = cv2.exp(2 * (small - np.float32(np.log(self.radii.half))))
        return float((1 / (1 + ratio)).mean())

    @staticmethod
    def _inside(values: Values, roi: Roi | None) -> Values:
        if roi is None:
            return values
        top, left = max(roi.y, 0), max(roi.x, 0)
        part = values[top : max(roi.y + roi.height, 0), left : max(roi.x + roi.width, 0)]
        if not part.size:
            height, width = values.shape
            raise ValueError(f"ROI {roi.name!r} lies outside the {width} x {height} frame")
        return part
