"""Counters and latencies of a running pipeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .frame import Timing

WINDOW = 10.0  # seconds that percentiles look back on
RECENT = 3.0  # seconds that the present rate looks back on
MOST = 4096  # results that are kept, whatever the rate


@dataclass(frozen=True)
class Snapshot:
    """What a status line shows.

    Attributes:
        results: results handed out so far.
        dropped: frames and results replaced by newer ones (live only).
        per_second: results a second since the first one.
        recent: results a second lately.
        age_p50, age_p95: seconds from capture to hand-out (a viewer: to paint), smoothing delay included.
        smoothing_delay: that delay, in seconds.
        stages: seconds in each stage, the median, in the order of the stages.
    """

    results: int = 0
    dropped: int = 0
    per_second: float = 0.0
    recent: float = 0.0
    age_p50: float = 0.0
    age_p95: float = 0.0
    smoothing_delay: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class Stats:
    """Counts results as they are handed out, or shown; one thread writes."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, float, dict[str, float]]] = deque(maxlen=MOST)
        self._results = 0
        self._delay = 0.0
        self._first = self._last = 0.0

    def count(self, timing: Timing, **later: float) -> None:
        """A result with this timing is handed out now; ``later``: seconds in stages behind the pipeline."""
        now = time.monotonic()
        self._first = self._first or now
        self._last = now
        self._results += 1
        self._delay = timing.smoothing_delay
        stages = {
            "waiting": timing.waiting, "network": timing.network, "smoothing": timing.smoothing,
            "refining": timing.refining,
        } | later  # fmt: skip
        self._rows.append((now, now - timing.arrived + timing.smoothing_delay, stages))

    def snapshot(self, dropped: int = 0) -> Snapshot:
        """The figures so far; zeros before the second result."""
        now, rows = time.monotonic(), list(self._rows)
        elapsed = self._last - self._first
        rate = (self._results - 1) / elapsed if elapsed > 0 else 0.0
        span = min(RECENT, now - self._first)
        late = sum(1 for at, _, _ in rows if now - at <= span)
        kept = [row for row in rows if self._last - row[0] <= WINDOW]
        ages = np.percentile([age for _, age, _ in kept], (50, 95)) if kept else (0.0, 0.0)
        names = kept[-1][2] if kept else {}
        stages = {n: float(np.median([row[2].get(n, 0.0) for row in kept])) for n in names}
        return Snapshot(
            self._results, dropped, rate, late / span if span > 0 else 0.0,
            float(ages[0]), float(ages[1]), self._delay, stages,
        )  # fmt: skip
