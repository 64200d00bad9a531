"""One timeline across several runs of live sources, with continuous frame numbers and times."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from .frame import Frame

MICROSECOND = Fraction(1, 1_000_000)
AHEAD = 1  # seconds that a source's clock may run ahead of ours


class Timeline:
    """Keeps frame numbers and times continuous across reconnects."""

    def __init__(self) -> None:
        self.frames = 0
        self._last, self._begun = -1, 0.0
        self._shift: Fraction | None = None

    def restart(self) -> None:
        """Declare that the next frame is the first one after a reconnect."""
        self._shift = None

    def stamped(self, frame: Frame) -> Frame:
        """Return ``frame`` with the next number and its time in microseconds since the first frame.

        If the source's clock steps back, or runs ahead of ours, it is reset to the arrival time of the frame.
        """
        last = max(self._last, 0) * MICROSECOND
        if not self.frames:
            self._begun = frame.arrived
        due = Fraction(frame.arrived - self._begun)
        seconds = due if self._shift is None else frame.seconds + self._shift
        if self._shift is None or not last < seconds <= due + AHEAD:
            self._shift, seconds = due - frame.seconds, due
        pts = max(round(seconds / MICROSECOND), self._last + 1)
        self._last = pts
        result = replace(frame, index=self.frames, pts=pts, time_base=MICROSECOND)
        self.frames += 1
        return result
