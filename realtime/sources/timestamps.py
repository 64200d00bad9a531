"""Repairs the timestamps of a file: strictly increasing, none missing, none negative.

>>> repair = TimestampRepair(step=Fraction(40), time_base=Fraction(1, 1000), origin=-80)
>>> [repair(pts) for pts in (-80, -40, None, 40, 40, 120)]
[0, 40, 80, 120, 121, 200]
>>> repair.repaired, repair.shift
(2, 80)
"""

from __future__ import annotations

from fractions import Fraction

GAP = 10  # seconds; a longer gap is reported, a longer step back starts a new segment
ABSURD = 24 * 3600  # seconds; no recording has a longer gap, so such a timestamp is invalid
WRAP = 1 << 33  # MPEG transport and program streams use 33-bit timestamps


class TimestampRepair:
    """Repairs timestamps; call it with each one in frame order. Valid ones are returned unchanged.

    * A negative first timestamp shifts the whole stream to start at 0 (see `shift`); a positive one is kept.
    * A missing timestamp becomes the decoding timestamp if that fits, else the previous one plus the nominal
      step.
    * A repeated timestamp or a step back becomes the smallest value that still increases.
    * A step back of more than 10 s starts a new segment, one step after the last frame (concatenated files,
      the 33-bit wraparound). A gap of more than 24 h is an invalid timestamp and becomes one step.
    * A gap of more than 10 s is kept and reported.

    Args:
        step: nominal duration of one frame in units of ``time_base``.
        time_base: seconds per unit.
        origin: the file's timestamp of its very first frame, which need not be the first one passed in.

    Attributes:
        repaired: number of frames whose timestamp was missing or wrong.
        missing: how many of those were missing.
        shift: units added to every timestamp because the first one was negative.
        notices: one line per kind of problem.
    """

    def __init__(self, *, step: Fraction, time_base: Fraction, origin: int | None = None) -> None:
        self.repaired = self.missing = self.shift = 0
        self.notices: dict[str, str] = {}
        self._step, self._time_base = step, time_base
        if origin is not None and not 0 <= origin < 1 << 62:
            self.shift = -origin
            if origin < 0:
                seconds = float(-origin * time_base)
                self._notice("shift", f"starts {seconds:.3f} s before zero: all times moved by that")
        self._offset = self.shift  # added to the file's timestamps in the current segment
        self._last: Fraction | None = None  # exact, so that generated timestamps do not drift

    def __call__(self, pts: int | None, dts: int | None = None) -> int:
        """Return the repaired timestamp of the next frame, in the same units."""
        if pts is None:
            return self._make(dts)
        value = Fraction(pts + self._offset)
        if self._last is None:
            return self._keep(value)
        ahead = (value - self._last) * self._time_base
        if ahead > ABSURD or ahead < -GAP:
            return self._jump(pts, ahead)
        if ahead > GAP:
            self._notice("gap", f"a gap of {float(ahead):.1f} s in the timestamps")
        if value <= round(self._last):
            self.repaired += 1
            return self._keep(Fraction(round(self._last) + 1))
        return self._keep(value)

    def _make(self, dts: int | None) -> int:
        self.repaired += 1
        self.missing += 1
        if self._last is None:
            return self._keep(Fraction(0 if dts is None else dts + self._offset))
        if dts is not None and 0 < dts + self._offset - self._last <= 2 * self._step:
            return self._keep(Fraction(dts + self._offset))
        return self._after()

    def _jump(self, pts: int, ahead: Fraction) -> int:
        """Start a new segment: return to the file's own clock if that fits, else continue one step on."""
        assert self._last is not None
        self.repaired += 1
        for offset in (self.shift, self._offset + WRAP):
            if 0 < (pts + offset - self._last) * self._time_base <= GAP:
                self._offset = offset
                return self._keep(Fraction(pts + offset))
        self._notice("jump", f"the timestamps jump by {float(ahead):.1f} s: joined without a gap")
        value = self._after()
        self._offset = value - pts
        return value

    def _after(self) -> int:
        assert self._last is not None
        exact = self._last + self._step
        return self._keep(exact if round(exact) > round(self._last) else Fraction(round(self._last) + 1))

    def _keep(self, value: Fraction) -> int:
        self._last = value
        return round(value)

    def _notice(self, kind: str, text: str) -> None:
        self.notices.setdefault(kind, text)
