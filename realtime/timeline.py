"""One time line over several runs of live sources: frames numbered through, their times going on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from .frame import Frame

MICROSECOND = Fraction(1, 1_000_000)
AHEAD = 1  # seconds by which a source's clock may run ahead of ours


class Timeline:
    """Numbers frames through and keeps their times going over every reopening."""

    def __init__(self) -> None:
        self.frames = 0
        self._last, self._begun = -1, 0.0
        self._shift: Fraction | None = None

    def restart(self) -> None:
        """The next frame is the first of a new opening."""
        self._shift = None

    def stamped(self, frame: Frame) -> Frame:
        """``frame`` with the next number and its time in microseconds since the first frame.

        A source whose clock steps back, or runs ahead of ours, is set to when the frame arrived.
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
