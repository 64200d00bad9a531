"""Temporal smoothing of blur maps by a time constant in seconds.

An exponential average whose weight follows from the frames' own times, so that dropped frames and
variable frame rates do not change the look: alpha = 1 - exp(-dt / time constant).
"""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np

from .frame import BlurMap, Frame, Image, Values

# A pause longer than this says nothing about the next picture.
MAX_GAP = Fraction(1, 2)
THUMBNAIL = (32, 18)
# Mean difference of two thumbnails (0..255) above which the shot has changed: pans and exposure changes
# stay below it between neighbouring frames.
CUT_DIFFERENCE = 28.0


class Smoothing:
    """Averages maps over time; starts anew at a cut, a gap, a step back in time or a new size.

    Args:
        seconds: the time constant; larger is calmer and later.

    Raises:
        ValueError: ``seconds`` is not positive.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        if not seconds > 0:
            raise ValueError(f"a time constant is positive, got {seconds} s")
        self.seconds = seconds
        self.reset()

    @property
    def delay(self) -> float:
        """By how many seconds the average lags behind a steady change."""
        return self.seconds

    def reset(self) -> None:
        """Forget the past; the next map passes unchanged."""
        self._average: Values | None = None
        self._thumbnail: Image | None = None
        self._time = Fraction(0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """The smoothed map of ``frame``: float32 H x W in [0, 1]."""
        thumbnail = _thumbnail(frame.image)
        elapsed = frame.seconds - self._time
        if self._average is None or self._starts_anew(blur, thumbnail, elapsed):
            self._average = np.array(blur.values)
        else:
            weight = 1 - math.exp(-float(elapsed) / self.seconds)
            cv2.accumulateWeighted(blur.values, self._average, weight)
        self._thumbnail, self._time = thumbnail, frame.seconds
        return BlurMap(np.clip(self._average, 0, 1))

    def _starts_anew(self, blur: BlurMap, thumbnail: Image, elapsed: Fraction) -> bool:
        assert self._average is not None and self._thumbnail is not None
        if blur.values.shape != self._average.shape or not 0 < elapsed <= MAX_GAP:
            return True
        return float(cv2.norm(thumbnail, self._thumbnail, cv2.NORM_L1)) > (
            CUT_DIFFERENCE * thumbnail.size
        )


def _thumbnail(image: Image) -> Image:
    small = cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
