"""A live source that reconnects: monitored, reopened from scratch, with a state that is always known.

Most live faults are silent: nothing arrives and nothing fails. A timeout without frames therefore counts as a
fault, and so do endlessly repeated images. After any fault, the whole source is reopened in a new thread, so
a driver call that never returns costs only its thread.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from br2focus.realtime.errors import AbsentError, FocusError, LostError, RefusedError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import Source
from br2focus.realtime.timeline import Timeline
from br2focus.realtime.video_info import SourceInfo

from .attempt import Attempt, LateError, _Frozen
from .connection import ReconnectPolicy, State, Status

DEFAULT_POLICY = ReconnectPolicy()
HANGING = 3  # reads that never returned, after which nothing is opened any more
# seconds of frequent retries for an absent source, which mostly returns at once or not at all
SOON = 30.0


class ReconnectingSource(Source):
    """Yields the frames of a live source and reconnects after every fault.

    Frame numbers and times are continuous. Within one connection, times are those of the source; between
    connections, the gap has its real length.

    Args:
        open_source: opens the source again and may block; the source is iterated and closed in one thread.
        name: name for messages, without secrets.
        policy: timeouts and retry delays.

    Raises:
        LostError: while iterating, the source is declared lost.
        RefusedError: while iterating, access is refused before the first frame, and retrying is pointless.
    """

    def __init__(
        self, open_source: Callable[[], Source], name: str, policy: ReconnectPolicy = DEFAULT_POLICY
    ) -> None:
        self._open, self._policy = open_source, policy
        self.info = SourceInfo(name=name, live=True)
        self._status = Status(State.CONNECTING, time.monotonic())
        self._closed = threading.Event()
        self._attempt: Attempt | None = None
        self._refused = self._absent = False
        self._hanging: list[Attempt] = []
        self._clock = Timeline()
        self._frozen = _Frozen(policy.frozen)

    @property
    def status(self) -> Status:
        """Current status of the source; may be read from any thread."""
        attempt, status = self._attempt, self._status
        damaged = attempt.damaged if attempt is not None and attempt.counts else 0
        return replace(status, damaged=status.damaged + damaged)

    @property
    def damaged(self) -> int:
        """Damage reported by the source over all connections; may be read from any thread."""
        return self.status.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Timestamps repaired by the open source; may be read from any thread."""
        attempt = self._attempt
        return attempt.repaired_timestamps if attempt is not None else 0

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices of the open source, one line each; may be read from any thread."""
        attempt = self._attempt
        return attempt.notices if attempt is not None else ()

    def close(self) -> None:
        """End the iteration; may be called from any thread and in any state."""
        self._closed.set()
        attempt = self._attempt
        if attempt is not None:
            attempt.leave()

    def __iter__(self) -> Iterator[Frame]:
        pause = self._policy.first
        while not self._closed.is_set():
            opened = time.monotonic()
            yield from self._frames()
            if self._closed.is_set():
                break
            self._raise_if_lost()
            if self._status.since - opened >= self._policy.good:
                pause = self._policy.first
            if self._refused:  # repeated failed logins can lock the account
                pause = self._policy.longest
            soon = time.monotonic() - self._status.since < SOON
            wait = self._policy.absent if self._absent and soon else pause
            if self._closed.wait(min(wait * random.uniform(0.8, 1.2), self._seconds_left())):
                break
            if not (self._absent and soon):
                pause = min(2 * pause, self._policy.longest)
            self._set(reopened=self._status.reopened + 1)
        self._set(state=State.ENDED)

    def _frames(self) -> Iterator[Frame]:
        """Yield the frames of one attempt; then set the status to how it ended."""
        self._hanging = [each for each in self._hanging if each.alive]
        if len(self._hanging) >= HANGING:
            self._set(reason=f"{HANGING} reads never returned; waiting for one of them")
            return
        attempt = self._attempt = Attempt(self._open, self._policy)
        if self._closed.is_set():  # closed while the attempt was being created
            attempt.leave()
        if self._status.state is not State.FROZEN:  # if the same image follows, the source is still frozen
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
            state = State.STALLED if isinstance(error, LateError) else State.LOST
            if self._refused and not self._clock.frames:
                raise error
            if not isinstance(error, FocusError | OSError):
                raise error  # a bug, not a fault of the source
        self._set(state=state, reason=reason)

    def _raise_if_lost(self) -> None:
        if self._seconds_left() > 0:
            return
        lost = time.monotonic() - self._status.since
        text = f"{self.info.name}: {self._status.reason}; no frame for {lost:.0f} s, given up"
        raise LostError(text)

    def _seconds_left(self) -> float:
        """Return the seconds until the source is declared lost."""
        limit = self._policy.retry_for
        if limit is None:
            return math.inf if self._clock.frames else 0.0
        return max(0.0, self._status.since + limit - time.monotonic())

    def _set(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]
