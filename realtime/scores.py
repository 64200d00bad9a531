"""How much of each region is in focus, over time: what a graph shows and a best value is held for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .frame import Roi
from .result import FocusResult

WHOLE = "whole frame"
SECONDS = 20.0  # that are kept
MAX_POINTS = 2400  # of a series: 20 s at 120 frames a second


@dataclass(frozen=True)
class Point:
    """One value of a series.

    Attributes:
        arrived: `time.monotonic` of the frame, in seconds.
        index: of the frame.
        value: 0 to 1, 1 = all of the region is in focus.
    """

    arrived: float
    index: int
    value: float


class Series:
    """The scores of one region: the last `SECONDS`, and the best since the last `reset`."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)
        self.best: Point | None = None

    @property
    def points(self) -> tuple[Point, ...]:
        """Oldest first."""
        return tuple(self._points)

    @property
    def last(self) -> Point | None:
        """The newest value."""
        return self._points[-1] if self._points else None

    def add(self, point: Point) -> None:
        """Take the next value."""
        self._points.append(point)
        while self._points[0].arrived < point.arrived - SECONDS:
            self._points.popleft()
        if self.best is None or point.value > self.best.value:
            self.best = point

    def reset(self) -> None:
        """Forget the best so far."""
        self.best = None


class Scores:
    """A `Series` for the whole frame and for each region.

    The whole frame's value is the share that is in focus; a region's is its score (see `BlurMap.score`):
    both of the frame's own map, without smoothing in time, so that a maximum is where it was.
    """

    def __init__(self) -> None:
        self.series: dict[str, Series] = {WHOLE: Series()}
        self._rois: dict[str, Roi] = {}

    def add(self, result: FocusResult, rois: Sequence[Roi]) -> None:
        """Take the next result; a region that is gone, outside the frame, or elsewhere now is forgotten."""
        blur, frame = result.measured, result.frame
        values = {WHOLE: blur.in_focus_share()}
        for roi in rois:
            try:
                values[roi.name] = blur.score(roi)
            except ValueError:  # outside a frame that became smaller
                continue
        same = {roi.name for roi in rois if self._rois.get(roi.name) == roi}
        self._rois = {roi.name: roi for roi in rois}
        kept = {n: s for n, s in self.series.items() if n in values and (n == WHOLE or n in same)}
        self.series = kept | {name: Series() for name in values if name not in kept}
        for name, value in values.items():
            self.series[name].add(Point(frame.arrived, frame.index, value))

    def now(self) -> dict[str, tuple[float, float]]:
        """The newest value of each series and its best, for a text beside the picture."""
        return {
            name: (series.last.value, series.best.value if series.best else series.last.value)
            for name, series in self.series.items()
            if series.last is not None
        }

    def reset(self, name: str | None = None) -> None:
        """Forget the best so far of one region, or of all."""
        for each, series in list(self.series.items()):
            if name in (None, each):
                series.reset()
