"""Focus scores of regions over time, for a graph and for holding the best value."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .frame import Roi
from .result import FocusResult

WHOLE = "whole frame"
SECONDS = 20.0  # seconds of history
MAX_POINTS = 2400  # per series: 20 s at 120 frames per second


@dataclass(frozen=True)
class Point:
    """One value of a series.

    Attributes:
        arrived: value of `time.monotonic` for the frame, in seconds.
        index: index of the frame.
        value: 0 to 1, 1 = the whole region is in focus.
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
        """The points, oldest first."""
        return tuple(self._points)

    @property
    def last(self) -> Point | None:
        """The newest point, or None."""
        return self._points[-1] if self._points else None

    def add(self, point: Point) -> None:
        """Add the next point."""
        self._points.append(point)
        while self._points[0].arrived < point.arrived - SECONDS:
            self._points.popleft()
        if self.best is None or point.value > self.best.value:
            self.best = point

    def reset(self) -> None:
        """Clear the best value."""
        self.best = None


class Scores:
    """A `Series` for the whole frame and for each region.

    The value of the whole frame is its share in focus; that of a region is its score (see `BlurMap.score`).
    Both are taken from the frame's own map without temporal smoothing, so a maximum is found at the right
    frame.
    """

    def __init__(self) -> None:
        self.series: dict[str, Series] = {WHOLE: Series()}
        self._rois: dict[str, Roi] = {}

    def add(self, result: FocusResult, rois: Sequence[Roi]) -> None:
        """Add the next result; drop regions that were removed or moved, or that lie outside the frame."""
        blur, frame = result.measured, result.frame
        values = {WHOLE: blur.in_focus_share()}
        for roi in rois:
            try:
                values[roi.name] = blur.score(roi)
            except ValueError:  # outside the frame, which has become smaller
                continue
        same = {roi.name for roi in rois if self._rois.get(roi.name) == roi}
        self._rois = {roi.name: roi for roi in rois}
        kept = {n: s for n, s in self.series.items() if n in values and (n == WHOLE or n in same)}
        self.series = kept | {name: Series() for name in values if name not in kept}
        for name, value in values.items():
            self.series[name].add(Point(frame.arrived, frame.index, value))

    def now(self) -> dict[str, tuple[float, float]]:
        """Return the newest and the best value of each series, for a text next to the picture."""
        return {
            name: (series.last.value, series.best.value if series.best else series.last.value)
            for name, series in self.series.items()
            if series.last is not None
        }

    def reset(self, name: str | None = None) -> None:
        """Clear the best value of one region, or of all."""
        for each, series in list(self.series.items()):
            if name in (None, each):
                series.reset()
