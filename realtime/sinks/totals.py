"""Summary of a whole input: mean figures and the sharpest moment."""

from __future__ import annotations

from br2focus.realtime.result import FocusResult

from .sink import Sink


class Totals(Sink):
    """Averages the figures of each frame's own map (see `MetricsWriter`); writes nothing."""

    def __init__(self) -> None:
        self._frames = 0
        self._share = self._sharpness = 0.0
        self._best = -1.0
        self._second = 0.0

    def write(self, result: FocusResult) -> None:
        """Add one frame."""
        share, sharpness = result.figures
        self._frames += 1
        self._share += share
        self._sharpness += sharpness
        if sharpness > self._best:
            self._best, self._second = sharpness, float(result.frame.seconds)

    def summary(self) -> dict[str, float]:
        """Return the means of ``in_focus_share`` and ``sharpness``, and the sharpest frame.

        Returns:
            An empty dict if there were no frames.
        """
        if not self._frames:
            return {}
        return {
            "in_focus_share": round(self._share / self._frames, 4),
            "sharpness": round(self._sharpness / self._frames, 4),
            "sharpest_sharpness": round(self._best, 4),
            "sharpest_second": round(self._second, 3),
        }
