"""Look-ahead smoothing: a few frames wait, so each map is averaged with earlier and later ones.

The past side is the running average of `adaptive`; the future side is the same average over the waiting
frames, computed backwards. Maps do not lag, because a steady change is centred in its average. If the two
sides disagree, something changes between them, and the side that differs from the frame's own map is ignored.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Values

from .adaptive import AdaptiveSmoother, Step, between, grid, lifted, mean_around, moved
from .protocol import Smoothed

AHEAD = 5  # frames that wait; more smooth only slightly better
HELD_BYTES = 300e6  # of waiting images and maps: eleven frames in 4K, three in 8K
DISAGREE = (0.1, 0.3)  # limits of the distance between the two sides
UNLIKE = (0.1, 0.3)  # limits of the distance of one side from the frame's own map
LEAST = 1e-3  # smallest weight of a side


class LookAheadSmoother:
    """Smooths maps from both sides within a shot; each frame comes out a few frames later.

    Args:
        ahead: number of waiting frames; fewer for large images.
        threaded: process the newest frame in another thread while the oldest one is averaged; then one more
            frame waits.

    Attributes:
        delay: 0, since maps do not lag behind their frames.
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
        """Clear the history and discard waiting frames; the next map passes unchanged."""
        self._adaptive.reset()
        self._waiting.clear()
        self._ready.clear()

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """Add the next frame; return those that are ready now, normally one once enough frames wait."""
        fit = int(HELD_BYTES // (frame.image.nbytes + blur.values.nbytes))
        limit = min(self._ahead, max(1, fit))
        if self._thread is None:
            self._waiting.append((frame, blur, self._adaptive.step(frame, blur)))
            self._release(limit)
        else:
            coming = self._thread.submit(self._adaptive.step, frame, blur)
            try:
                self._release(limit)
            finally:  # frames that are ready stay so if this raises
                step = coming.result()
            self._waiting.append((frame, blur, step))
        return self._take_ready()

    def flush(self) -> list[Smoothed]:
        """Return the frames that still wait; the next map passes unchanged."""
        self._adaptive.reset()
        self._release(0)
        return self._take_ready()

    def _release(self, limit: int) -> None:
        while len(self._waiting) > limit:
            self._ready.append(self._next())

    def _take_ready(self) -> list[Smoothed]:
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
    """Return the average of both sides for the first of ``steps``."""
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
    """Warp all later steps back to the first one; return their weighted sum and total weight."""
    total, mass = np.zeros_like(steps[0].raw), np.zeros_like(steps[0].raw)
    for step in reversed(steps[1:]):
        assert step.kept is not None and step.places is not None
        total, mass = total + step.own * step.raw, mass + step.own
        # The flow is smooth, so the motion to the next frame is about the inverse of the motion from it.
        back = 2 * grid(*mass.shape) - step.places
        total, mass = step.kept * moved(total, back), step.kept * moved(mass, back)
    return total, mass
