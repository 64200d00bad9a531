"""A live source that comes back: watched, reopened from scratch, its state always known.

Most live faults are silent: nothing arrives, and nothing fails. So "no frame for a while" is a fault too, and
so is the same picture again and again. Whatever happens, the whole source is opened anew, in a thread of its
own: a driver that never returns costs that thread, and nothing else.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from br2focus.realtime.channel import Channel
from br2focus.realtime.errors import AbsentError, FocusError, LostError, RefusedError, SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.sources.source import ClosingSource, Source
from br2focus.realtime.timeline import Timeline
from br2focus.realtime.video_info import SourceInfo

HANGING = 3  # reads that never returned, until nothing is opened any more
WATCH_SECONDS = 0.1
SOON = 30.0  # seconds for which something absent is asked for often: it mostly comes back at once, or not
LEAVE_SECONDS = 0.5


class State(StrEnum):
    """What a live source is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"
    FROZEN = "frozen"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True)
class Status:
    """The state of a live source.

    Attributes:
        state: now.
        since: `time.monotonic` of the last frame, or of the start before the first one.
        reason: why it is not running, without secrets.
        reopened: how often it was opened again.
        abandoned: reads that never returned, whose threads were left behind.
        dropped: frames replaced by newer ones before they were taken.
        damaged: what the source counted as damaged, in all openings.
    """

    state: State
    since: float
    reason: str = ""
    reopened: int = 0
    abandoned: int = 0
    dropped: int = 0
    damaged: int = 0


@dataclass(frozen=True)
class ReconnectPolicy:
    """How long a live source waits for what; seconds.

    Attributes:
        opening: until opening counts as failed.
        stall: without a frame until the source counts as stalled.
        frozen: of the very same picture until it counts as frozen, None = never (a still test picture).
        absent: pause before the next attempt where nothing was there, which is told at once; for the first
            `SOON` seconds.
        first, longest: pause before the first attempt after a fault, doubled each time, and its limit.
        good: of frames until the pause begins small again.
        retry_for: after the last frame until the source is given up. None: for ever, but a source that
            never gave a frame is given up at its first failure.
    """

    opening: float = 5.0
    stall: float = 2.0
    frozen: float | None = 3.0
    absent: float = 0.3
    first: float = 0.5
    longest: float = 10.0
    good: float = 10.0
    retry_for: float | None = None


class ReconnectingSource(ClosingSource):
    """Frames of a live source for as long as it exists, over every fault of it.

    Frames are numbered through, and their times go on: within one opening they are those of the source, from
    one to the next the gap is as long as it really was.

    Args:
        open_source: opens the source anew and may block; what it gives is iterated and closed in one thread.
        name: for messages, without secrets.
        patience: time limits.

    Raises:
        LostError: while iterating, the source was given up.
        RefusedError: while iterating, before the first frame: trying again is of no use.
    """

    def __init__(
        self, open_source: Callable[[], Source], name: str, patience: ReconnectPolicy = ReconnectPolicy()
    ) -> None:
        self._open, self._patience = open_source, patience
        self.info = SourceInfo(name=name, live=True)
        self._status = Status(State.CONNECTING, time.monotonic())
        self._closed = threading.Event()
        self._attempt: _Attempt | None = None
        self._refused = self._absent = False
        self._hanging: list[_Attempt] = []
        self._clock = Timeline()
        self._frozen = _Frozen(patience.frozen)

    @property
    def status(self) -> Status:
        """What the source is doing now; from any thread."""
        attempt, status = self._attempt, self._status
        damaged = attempt.damaged if attempt is not None and attempt.counts else 0
        return replace(status, damaged=status.damaged + damaged)

    @property
    def damaged(self) -> int:
        """What the source counted as damaged, in all openings; from any thread."""
        return self.status.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Of the source that is open; from any thread."""
        attempt = self._attempt
        return attempt.repaired_timestamps if attempt is not None else 0

    @property
    def notices(self) -> tuple[str, ...]:
        """What the source that is open says of itself, a line each; from any thread."""
        attempt = self._attempt
        return attempt.notices if attempt is not None else ()

    def close(self) -> None:
        """End the iteration, from any thread and in any state."""
        self._closed.set()
        attempt = self._attempt
        if attempt is not None:
            attempt.leave()

    def __iter__(self) -> Iterator[Frame]:
        pause = self._patience.first
        while not self._closed.is_set():
            opened = time.monotonic()
            yield from self._frames()
            if self._closed.is_set():
                break
            self._give_up_or_not()
            if self._status.since - opened >= self._patience.good:
                pause = self._patience.first
            if self._refused:  # a login that is tried again and again gets locked out
                pause = self._patience.longest
            soon = time.monotonic() - self._status.since < SOON
            wait = self._patience.absent if self._absent and soon else pause
            if self._closed.wait(min(wait * random.uniform(0.8, 1.2), self._left())):
                break
            if not (self._absent and soon):
                pause = min(2 * pause, self._patience.longest)
            self._set(reopened=self._status.reopened + 1)
        self._set(state=State.ENDED)

    def _frames(self) -> Iterator[Frame]:
        """The frames of one attempt; afterwards the status says how it ended."""
        self._hanging = [each for each in self._hanging if each.alive]
        if len(self._hanging) >= HANGING:
            self._set(reason=f"{HANGING} reads never returned; waiting for one of them")
            return
        attempt = self._attempt = _Attempt(self._open, self._patience)
        if self._closed.is_set():  # closed while the attempt was made
            attempt.leave()
        if self._status.state is not State.FROZEN:  # the same picture once more is still frozen
            self._frozen.reset()
        self._clock.restart()
        state, reason = State.LOST, "the stream ended"
        try:
            for frame in attempt.frames:
                if self._frozen(frame):
                    state, reason = State.FROZEN, "the same picture again and again"
                    break
                self._set(state=State.RUNNING, since=time.monotonic(), reason="")
                yield self._clock.stamped(frame)
        finally:
            if not attempt.leave():
                self._hanging.append(attempt)
                self._set(abandoned=self._status.abandoned + 1)
            attempt.counts = False
            self._set(
                dropped=self._status.dropped + attempt.frames.dropped,
                damaged=self._status.damaged + attempt.damaged,
            )
        error = attempt.error
        self._refused = isinstance(error, RefusedError)
        self._absent = isinstance(error, AbsentError)
        if error is not None:
            reason = str(error).removeprefix(f"{self.info.name}: ")
            state = State.STALLED if isinstance(error, _LateError) else State.LOST
            if self._refused and not self._clock.frames:
                raise error
            if not isinstance(error, FocusError | OSError):
                raise error  # a bug, not a fault of the source
        self._set(state=state, reason=reason)

    def _give_up_or_not(self) -> None:
        if self._left() > 0:
            return
        lost = time.monotonic() - self._status.since
        text = f"{self.info.name}: {self._status.reason}; no frame for {lost:.0f} s, given up"
        raise LostError(text)

    def _left(self) -> float:
        """Seconds until the source is given up."""
        limit = self._patience.retry_for
        if limit is None:
            return math.inf if self._clock.frames else 0.0
        return max(0.0, self._status.since + limit - time.monotonic())

    def _set(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]


class _LateError(SourceError):
    """Nothing arrived in time."""


class _Attempt:
    """One opening of a source, in a thread; ``frames`` keeps the newest and ends with the attempt."""

    def __init__(self, open_source: Callable[[], Source], patience: ReconnectPolicy) -> None:
        self._open, self._patience = open_source, patience
        self.frames: Channel[Frame] = Channel(1, drop=True)
        self.error: BaseException | None = None
        self.counts = True  # what it counts is not in the status yet
        self._last = time.monotonic()
        self._limit, self._late = patience.opening, "does not open"
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
                self._limit, self._late = self._patience.stall, "no picture"
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
                self._end(_LateError(f"{self._late} for {self._limit:g} s"))

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
