"""One opening of a live source, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from br2focus.realtime.channel import Channel
from br2focus.realtime.errors import FocusError, SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.sources.source import Source

from .connection import ReconnectPolicy

WATCH_SECONDS = 0.1
LEAVE_SECONDS = 0.5


class LateError(SourceError):
    """Nothing arrived in time."""


class Attempt:
    """One opening of a source, in a thread; ``frames`` keeps the newest and ends with the attempt."""

    def __init__(self, open_source: Callable[[], Source], policy: ReconnectPolicy) -> None:
        self._open, self._policy = open_source, policy
        self.frames: Channel[Frame] = Channel(1, drop=True)
        self.error: BaseException | None = None
        self.counts = True  # what it counts is not in the status yet
        self._last = time.monotonic()
        self._limit, self._late = policy.opening, "does not open"
        self._over, self._ending = threading.Event(), threading.Lock()
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._read, name="live", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="live-watch", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Its thread has not returned."""
        return self._thread.is_alive()

    @property
    def damaged(self) -> int:
        """What the source counts as damaged."""
        return 0 if self._source is None else self._source.damaged

    @property
    def repaired_timestamps(self) -> int:
        """What the source counts as repaired."""
        return 0 if self._source is None else self._source.repaired_timestamps

    @property
    def notices(self) -> tuple[str, ...]:
        """What the source says of itself."""
        return () if self._source is None else self._source.notices

    def leave(self) -> bool:
        """End the attempt; False when its thread stays in a call that does not return."""
        self._end(None)
        self.frames.cancel()
        if self._source is not None:
            self._source.close()
        self._thread.join(LEAVE_SECONDS)
        return not self.alive

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            source = self._open()
            self._source = source
            with source:
                self._last = time.monotonic()
                self._limit, self._late = self._policy.stall, "no picture"
                if not self._over.is_set():
                    self._pass_on(source)
        except BaseException as caught:
            error = caught
        self._end(error)

    def _pass_on(self, source: Source) -> None:
        for frame in source:
            self._last = time.monotonic()
            if self._over.is_set() or not self.frames.put(frame):
                return

    def _watch(self) -> None:
        """End the attempt when nothing arrives in time; a pause of the whole program is no fault."""
        before = time.monotonic()
        while not self._over.wait(WATCH_SECONDS):
            now = time.monotonic()
            if now - before > 10 * WATCH_SECONDS:
                self._last = now
            before = now
            if now - self._last > self._limit:
                self._end(LateError(f"{self._late} for {self._limit:g} s"))

    def _end(self, error: BaseException | None) -> None:
        """The first end counts; a frame that waits is still read."""
        with self._ending:
            if self._over.is_set():
                return
            if isinstance(error, FocusError | OSError):
                # Its trace would hold the last picture until the garbage collector comes.
                error = error.with_traceback(None)
            self.error = error
            self._over.set()
        self.frames.close()


class _Frozen:
    """Tells when the very same picture has come for too long: sensors always have noise."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forget the pictures so far."""
        self._picture: Image | None = None
        self._since = 0.0

    def __call__(self, frame: Frame) -> bool:
        """Take the next frame; True when it is frozen."""
        if self._seconds is None:
            return False
        before, self._picture = self._picture, frame.image
        if before is None or not _same(before, frame.image):
            self._since = frame.arrived
        return frame.arrived - self._since > self._seconds


def _same(a: Image, b: Image) -> bool:
    return a.shape == b.shape and np.array_equal(a[::16], b[::16]) and np.array_equal(a, b)
