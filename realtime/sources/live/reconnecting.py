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
from dataclasses import replace

from br2focus.realtime.errors import AbsentError, FocusError, LostError, RefusedError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import ClosingSource, Source
from br2focus.realtime.timeline import Timeline
from br2focus.realtime.video_info import SourceInfo

from .attempt import Attempt, LateError, _Frozen
from .connection import ReconnectPolicy, State, Status

DEFAULT_POLICY = ReconnectPolicy()
HANGING = 3  # reads that never returned, until nothing is opened any more
SOON = 30.0  # seconds for which something absent is asked for often: it mostly comes back at once, or not


class ReconnectingSource(ClosingSource):
    """Frames of a live source for as long as it exists, over every fault of it.

    Frames are numbered through, and their times go on: within one opening they are those of the source, from
    one to the next the gap is as long as it really was.

    Args:
        open_source: opens the source anew and may block; what it gives is iterated and closed in one thread.
        name: for messages, without secrets.
        policy: time limits.

    Raises:
        LostError: while iterating, the source was given up.
        RefusedError: while iterating, before the first frame: trying again is of no use.
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
        pause = self._policy.first
        while not self._closed.is_set():
            opened = time.monotonic()
            yield from self._frames()
            if self._closed.is_set():
                break
            self._give_up_or_not()
            if self._status.since - opened >= self._policy.good:
                pause = self._policy.first
            if self._refused:  # a login that is tried again and again gets locked out
                pause = self._policy.longest
            soon = time.monotonic() - self._status.since < SOON
            wait = self._policy.absent if self._absent and soon else pause
            if self._closed.wait(min(wait * random.uniform(0.8, 1.2), self._left())):
                break
            if not (self._absent and soon):
                pause = min(2 * pause, self._policy.longest)
            self._set(reopened=self._status.reopened + 1)
        self._set(state=State.ENDED)

    def _frames(self) -> Iterator[Frame]:
        """The frames of one attempt; afterwards the status says how it ended."""
        self._hanging = [each for each in self._hanging if each.alive]
        if len(self._hanging) >= HANGING:
            self._set(reason=f"{HANGING} reads never returned; waiting for one of them")
            return
        attempt = self._attempt = Attempt(self._open, self._policy)
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
            state = State.STALLED if isinstance(error, LateError) else State.LOST
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
        limit = self._policy.retry_for
        if limit is None:
            return math.inf if self._clock.frames else 0.0
        return max(0.0, self._status.since + limit - time.monotonic())

    def _set(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]
