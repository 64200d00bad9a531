"""Counters and latencies of a running pipeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .frame import Timing

WINDOW = 600  # results that percentiles look back on
RECENT = 60  # results that the present rate looks back on


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
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._stages: dict[str, deque[float]] = {}
        self._results = 0
        self._delay = 0.0
        self._first = self._last = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def count(self, timing: Timing, **later: float) -> None:
        """A result with this timing is handed out now; ``later``: seconds in stages behind the pipeline."""
        now = time.monotonic()
        self._first = self._first or now
        self._last = now
        self._recent.append(now)
        self._results += 1
        self._delay = timing.smoothing_delay
        self._ages.append(now - timing.arrived + timing.smoothing_delay)
        stages = {
            "waiting": timing.waiting, "network": timing.network, "smoothing": timing.smoothing,
        } | later  # fmt: skip
        for name, seconds in stages.items():
            if name not in self._stages:
                self._stages = self._stages | {name: deque(maxlen=WINDOW)}  # others may be reading
            self._stages[name].append(seconds)

    def snapshot(self, dropped: int = 0) -> Snapshot:
        """The figures so far; zeros before the second result."""
        elapsed = self._last - self._first
        rate = (self._results - 1) / elapsed if elapsed > 0 else 0.0
        times = list(self._recent)
        recent = (len(times) - 1) / (times[-1] - times[0]) if len(set(times)) > 1 else 0.0
        ages = np.percentile(list(self._ages), (50, 95)) if self._ages else (0.0, 0.0)
        stages = {name: float(np.median(list(spent))) for name, spent in self._stages.items()}
        return Snapshot(
            self._results,
            dropped,
            rate,
            recent,
            float(ages[0]),
            float(ages[1]),
            self._delay,
            stages,
        )
