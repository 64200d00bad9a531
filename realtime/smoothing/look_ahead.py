"""Smoothing that knows what comes: a few frames wait, and each map is the average of those on both sides.

The side before is the running average of `adaptive`; the side after is the same average of the frames that
wait, backwards. So a map is not late: what changes evenly is in the middle of its average. Where the two
sides disagree something changes between them, and the one that is unlike the frame's own map does not count.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Values

from .adaptive import AdaptiveSmoother, Step, between, grid, lifted, mean_around, moved
from .protocol import Smoothed

AHEAD = 5  # frames that wait; more are calmer by little
HELD_BYTES = 300e6  # of pictures and maps that wait: eleven of 4K, three of 8K
DISAGREE = (0.1, 0.3)  # distance of the sides from each other
UNLIKE = (0.1, 0.3)  # and of a side from the frame's own map
LEAST = 1e-3  # what a side counts at least


class LookAheadSmoother:
    """Smooths maps from both sides, within a shot; each frame comes out a few frames later.

    Args:
        ahead: how many frames wait; fewer of large pictures.
        threaded: look at the newest frame in another thread while the oldest is averaged; then one more
            waits.

    Attributes:
        delay: 0, maps are not later than their frames.
    """

    delay = 0.0

    def __init__(self, ahead: int = AHEAD, *, threaded: bool = False) -> None:
        if ahead < 1:
            raise ValueError(f"look ahead by 1 frame or more, got {ahead}")
        self._ahead, self._adaptive = ahead, AdaptiveSmoother()
        self._thread = ThreadPoolExecutor(1, "look-ahead") if threaded else None
        self._waiting: deque[tuple[Frame, BlurMap, Step]] = deque()
        self._ready: list[Smoothed] = []

    def reset(self) -> None:
        """Forget the past and what waits; the next map passes unchanged."""
        self._adaptive.reset()
        self._waiting.clear()
        self._ready.clear()

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """Take the next frame; those that are ready now: one, after the first few."""
        fit = int(HELD_BYTES // (frame.image.nbytes + blur.values.nbytes))
        limit = min(self._ahead, max(1, fit))
        if self._thread is None:
            self._waiting.append((frame, blur, self._adaptive.step(frame, blur)))
            self._release(limit)
        else:
            coming = self._thread.submit(self._adaptive.step, frame, blur)
            try:
                self._release(limit)
            finally:  # what is ready stays so if this raises
                step = coming.result()
            self._waiting.append((frame, blur, step))
        return self._taken()

    def flush(self) -> list[Smoothed]:
        """Those that still wait; the next map passes unchanged."""
        self._adaptive.reset()
        self._release(0)
        return self._taken()

    def _release(self, limit: int) -> None:
        while len(self._waiting) > limit:
            self._ready.append(self._next())

    def _taken(self) -> list[Smoothed]:
        ready, self._ready = self._ready, []
        return ready

    def _next(self) -> Smoothed:
        frame, blur, step = self._waiting.popleft()
        coming = (later for _, _, later in self._waiting)
        steps = [step, *takewhile(lambda later: later.kept is not None, coming)]
        if len(steps) == 1 and step.kept is None:
            return Smoothed(frame, blur, blur)
        return Smoothed(frame, blur, lifted(blur, _between_sides(steps) - step.raw))


def _between_sides(steps: list[Step]) -> Values:
    """The average of both sides of the first of ``steps``."""
    step = steps[0]
    own, raw = step.own, step.raw
    before = step.mass - own
    past = (step.mass * step.average - own * raw) / np.maximum(before, LEAST)
    total, after = _backwards(steps)
    future = total / np.maximum(after, LEAST)
    disagree = between(np.abs(mean_around(past - future)), *DISAGREE)
    before = before * (1 - disagree * between(np.abs(mean_around(past - raw)), *UNLIKE))
    after = after * (1 - disagree * between(np.abs(mean_around(future - raw)), *UNLIKE))
    return np.asarray((own * raw + before * past + after * future) / (own + before + after))


def _backwards(steps: list[Step]) -> tuple[Values, Values]:
    """All steps but the first, carried back to it: the sum of what maps count times maps, and without."""
    total, mass = np.zeros_like(steps[0].raw), np.zeros_like(steps[0].raw)
    for step in reversed(steps[1:]):
        assert step.kept is not None and step.places is not None
        total, mass = total + step.own * step.raw, mass + step.own
        # The flow is smooth: where a pixel goes is about where it came from, the other way.
        back = 2 * grid(*mass.shape) - step.places
        total, mass = step.kept * moved(total, back), step.kept * moved(mass, back)
    return total, mass
