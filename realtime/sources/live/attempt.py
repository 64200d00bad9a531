"""A single connection to a live source, in its own thread."""

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
    """No data arrived in time."""


class Attempt:
    """One connection to a source, in a thread; ``frames`` holds the newest frame and ends with it."""

    def __init__(self, open_source: Callable[[], Source], policy: ReconnectPolicy) -> None:
        self._open, self._policy = open_source, policy
        self.frames: Channel[Frame] = Channel(1, drop=True)
        self.error: BaseException | None = None
        self.counts = True  # its counters are not yet part of the status
        self._last = time.monotonic()
        self._limit, self._late = policy.opening, "does not open"
        self._over, self._ending = threading.Event(), threading.Lock()
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._read, name="live", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="live-watch", daemon=True).start()

    @property
    def alive(self) -> bool:
        """True while its thread is running."""
        return self._thread.is_alive()

    @property
    def damaged(self) -> int:
        """Damage reported by the source."""
        return 0 if self._source is None else self._source.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Timestamps repaired by the source."""
        return 0 if self._source is None else self._source.repaired_timestamps

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices of the source."""
        return () if self._source is None else self._source.notices

    def leave(self) -> bool:
        """End the attempt; return False if its thread is stuck in a call."""
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
        """End the attempt on a timeout, unless the whole process was suspended."""
        before = time.monotonic()
        while not self._over.wait(WATCH_SECONDS):
            now = time.monotonic()
            if now - before > 10 * WATCH_SECONDS:
                self._last = now
            before = now
            if now - self._last > self._limit:
                self._end(LateError(f"{self._late} for {self._limit:g} s"))

    def _end(self, error: BaseException | None) -> None:
        """End the attempt; only the first call counts. A waiting frame can still be read."""
        with self._ending:
            if self._over.is_set():
                return
            if isinstance(error, FocusError | OSError):
                # The traceback would keep the last image alive until garbage collection.
                error = error.with_traceback(None)
            self.error = error
            self._over.set()
        self.frames.close()


class _Frozen:
    """Detects when the image has been identical for too long; real sensors always have noise."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forget the images so far."""
        self._picture: Image | None = None
        self._since = 0.0

    def __call__(self, frame: Frame) -> bool:
        """Process the next frame; return True if the image is frozen."""
        if self._seconds is None:
            return False
        before, self._picture = self._picture, frame.image
        if before is None or not _same(before, frame.image):
            self._since = frame.arrived
        return frame.arrived - self._since > self._seconds


def _same(a: Image, b: Image) -> bool:
    return a.shape == b.shape and np.array_equal(a[::16], b[::16]) and np.array_equal(a, b)
