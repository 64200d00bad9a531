"""Exponential moving average of blur maps with a time constant.

The weight is computed from the frames' timestamps, so dropped frames and variable frame rates do not change
the look: alpha = 1 - exp(-dt / time constant).
"""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Image, Values

from .protocol import MAX_GAP, EachFrame, is_cut, thumbnail


class ExponentialSmoother(EachFrame):
    """Averages maps over time; restarts at a cut, a gap, a step back in time or a new size.

    Args:
        seconds: time constant; larger values are calmer but lag more.

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
        """Lag of the average behind a steady change in seconds."""
        return self.seconds

    def reset(self) -> None:
        """Clear the history; the next map passes unchanged."""
        self._average: Values | None = None
        self._thumbnail: Image | None = None
        self._time, self._size = Fraction(0), (0, 0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """Return the smoothed map of ``frame``, of the size of ``blur``: float32 in [0, 1]."""
        small = thumbnail(np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8))
        elapsed = frame.seconds - self._time
        new = frame.size != self._size
        if self._average is None or new or self._must_restart(blur, small, elapsed):
            self._average = np.array(blur.values)
        else:
            weight = 1 - math.exp(-float(elapsed) / self.seconds)
            cv2.accumulateWeighted(blur.values, self._average, weight)
        self._thumbnail, self._time, self._size = small, frame.seconds, frame.size
        return BlurMap(np.clip(self._average, 0, 1), blur.radii)

    def _must_restart(self, blur: BlurMap, small: Image, elapsed: Fraction) -> bool:
        assert self._average is not None
        if blur.values.shape != self._average.shape or not 0 < elapsed <= MAX_GAP:
            return True
        return is_cut(self._thumbnail, small)
