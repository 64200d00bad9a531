"""Counters and latencies of a running pipeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from .frame import Timing

WINDOW = 600  # results that percentiles look back on


@dataclass(frozen=True)
class Snapshot:
    """What a status line shows.

    Attributes:
        results: results handed out so far.
        dropped: frames and results replaced by newer ones (live only).
        per_second: results a second since the first one.
        age_p50, age_p95: seconds from capture to hand-out, with the smoothing delay in it.
        network_p50: seconds in the network.
    """

    results: int
    dropped: int
    per_second: float
    age_p50: float
    age_p95: float
    network_p50: float


class Stats:
    """Counts results as they are handed out; one thread writes."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._network: deque[float] = deque(maxlen=WINDOW)
        self._results = 0
        self._first = self._last = 0.0

    def count(self, timing: Timing) -> None:
        """A result with this timing is handed out now."""
        now = time.monotonic()
        self._first = self._first or now
        self._last = now
        self._results += 1
        self._ages.append(now - timing.arrived + timing.smoothing_delay)
        self._network.append(timing.network)

    def snapshot(self, dropped: int = 0) -> Snapshot:
        """The figures so far; zeros before the second result."""
        elapsed = self._last - self._first
        rate = (self._results - 1) / elapsed if elapsed > 0 else 0.0
        ages = np.percentile(list(self._ages), (50, 95)) if self._ages else (0.0, 0.0)
        network = float(np.median(list(self._network))) if self._network else 0.0
        return Snapshot(self._results, dropped, rate, float(ages[0]), float(ages[1]), network)
