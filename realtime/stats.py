"""Counters and latencies of a running pipeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .result import Timing

WINDOW = 10.0  # window of the percentiles in seconds
RECENT = 3.0  # window of the recent rate in seconds
MOST = 4096  # upper limit on stored results, at any frame rate


@dataclass(frozen=True)
class Statistics:
    """The figures that a status line shows.

    Attributes:
        results: results delivered so far.
        dropped: frames and results replaced by newer ones (live sources only).
        per_second: average number of results per second since the first one.
        recent: results per second over the last few seconds.
        age_p50, age_p95: seconds from capture to delivery (in a viewer, to painting), including the smoothing
            delay.
        smoothing_delay: median smoothing delay in seconds.
        stages: median seconds per stage, in processing order.
    """

    results: int = 0
    dropped: int = 0
    per_second: float = 0.0
    recent: float = 0.0
    age_p50: float = 0.0
    age_p95: float = 0.0
    smoothing_delay: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class StatsCollector:
    """Counts results as they are delivered or shown; only one thread may write."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, float, float, dict[str, float]]] = deque(maxlen=MOST)
        self._results = 0
        self._first = self._last = 0.0

    def reset(self) -> None:
        """Clear all counts and timings."""
        self._rows.clear()
        self._results, self._first, self._last = 0, 0.0, 0.0

    def count(self, timing: Timing, **later: float) -> None:
        """Record a result that is delivered now.

        Args:
            timing: timings of the result.
            later: seconds spent in stages after the pipeline, by stage name.
        """
        now = time.monotonic()
        self._first = self._first or now
        self._last = now
        self._results += 1
        stages = {
            "waiting": timing.waiting,
            "network": timing.network,
            "smoothing": timing.smoothing,
            "refining": timing.refining,
        } | later
        age = now - timing.arrived + timing.smoothing_delay
        self._rows.append((now, age, timing.smoothing_delay, stages))
        while now - self._rows[0][0] > WINDOW:
            self._rows.popleft()

    def snapshot(self, dropped: int = 0) -> Statistics:
        """Return the figures so far; rates are 0 until the second result."""
        now, rows = time.monotonic(), list(self._rows)
        elapsed = self._last - self._first
        rate = (self._results - 1) / elapsed if elapsed > 0 else 0.0
        lately = [at for at, *_ in rows if now - at <= RECENT]
        recent = (len(lately) - 1) / (now - lately[0]) if len(lately) > 1 else 0.0
        ages = np.percentile([row[1] for row in rows], (50, 95)) if rows else (0.0, 0.0)
        delay = float(np.median([row[2] for row in rows])) if rows else 0.0
        names = rows[-1][3] if rows else {}
        stages = {n: float(np.median([row[3].get(n, 0.0) for row in rows])) for n in names}
        return Statistics(self._results, dropped, rate, recent, float(ages[0]), float(ages[1]), delay, stages)
