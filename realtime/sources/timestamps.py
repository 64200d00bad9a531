"""Timestamps that a file gives, made usable: strictly increasing, none missing, none negative.

>>> repair = TimestampRepair(step=Fraction(40), time_base=Fraction(1, 1000), origin=-80)
>>> [repair(pts) for pts in (-80, -40, None, 40, 40, 120)]
[0, 40, 80, 120, 121, 200]
>>> repair.repaired, repair.shift
(2, 80)
"""

from __future__ import annotations

from fractions import Fraction

GAP = 10  # seconds: a longer silence is noticed, a longer step back is a new beginning
ABSURD = 24 * 3600  # seconds: no recording holds a longer gap, so the number is broken
WRAP = 1 << 33  # MPEG transport and program streams count in 33 bits


class TimestampRepair:
    """Call it with every timestamp in the order of the frames; good ones come back unchanged.

    * A first time below zero moves the whole stream, so that it starts at 0 (see `shift`); a first time
      above zero is kept.
    * A missing one is the decoding time where that fits, else the nominal step after the one before.
    * A repeated one, or a step back, becomes the smallest number that still increases.
    * A step back of more than 10 s begins a new stretch: it goes on one step after the last frame (chained
      files, the 33-bit wrap). A gap of more than 24 h is a broken number and becomes one step.
    * A gap of more than 10 s is kept, and noticed.

    Args:
        step: nominal time of one frame in units of ``time_base``.
        time_base: seconds a unit.
        origin: what the file says of its very first frame, which need not be the first that comes here.

    Attributes:
        repaired: frames whose time was missing or wrong.
        missing: those of them that had none.
        shift: units added to every time because the first was below zero.
        notices: one line for each kind of trouble.
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
        self._offset = self.shift  # added to what the file says, in the present stretch
        self._last: Fraction | None = None  # exact, so that made times do not drift

    def __call__(self, pts: int | None, dts: int | None = None) -> int:
        """The usable time of the next frame, in the same units."""
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
        """A new stretch: back on the file's own clock where that fits, else one step on."""
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
