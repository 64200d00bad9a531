"""Progress on stderr: a bar on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from br2focus.realtime.closing import Closing

from .exits import Exit, Terminated, say

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_SECONDS = 10.0


class Progress(Closing):
    """Context manager that shows ``name: done/expected`` with the rate and the remaining time."""

    def __init__(self, name: str, unit: str = "frame") -> None:
        self._name, self._unit = name, unit
        self._bar: tqdm[None] | None = None
        self._begun = self._line = time.monotonic()
        self._first: int | None = None  # a resumed run does not start at 0

    def __call__(self, done: int, expected: int | None, note: str = "") -> None:
        """Report ``done`` of ``expected`` units (None if unknown), followed by ``note``."""
        if self._first is None:
            self._first, self._begun = done, time.monotonic()
        if sys.stderr.isatty():
            self._show_bar(done, expected, note)
        elif time.monotonic() - self._line >= LINE_SECONDS:
            self._line = time.monotonic()
            rate = (done - self._first) / (self._line - self._begun)
            known = expected is not None and expected > done and rate > 0
            left = f", {(expected - done) / rate:.0f} s left" if known and expected else ""
            total = f"/{expected}" if expected else ""
            text = f"{self._name}: {done}{total} {self._unit}s, {rate:.1f}/s{left} {note}"
            print(text.rstrip(), file=sys.stderr, flush=True)

    def _show_bar(self, done: int, expected: int | None, note: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            unit = f" {self._unit}s"
            self._bar = tqdm(desc=self._name, total=expected, initial=done, unit=unit, leave=False)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


class StopSignals:
    """While active, the first Ctrl-C or SIGTERM requests a clean stop, and the second one stops at once.

    Args:
        asked: called after the first signal, to end a wait that does not check `code`.

    Attributes:
        code: exit code of the signal received, or None.
    """

    def __init__(self, asked: Callable[[], object] | None = None) -> None:
        self.code: Exit | None = None
        self._asked = asked
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._before: dict[int, signal.Handlers | object] = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.code is not None:
            for each in self._before:
                signal.signal(each, signal.SIG_IGN)  # do not interrupt the shutdown again
            raise Terminated if self.code == Exit.TERMINATED else KeyboardInterrupt
        self.code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED
        say("stopping; what is done stays (a second signal aborts)")
        self._calls.put(True)

    def _wait(self) -> None:
        """Call ``asked`` outside the signal handler, which may have interrupted the holder of its locks."""
        if self._calls.get() and self._asked is not None:
            self._asked()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        if self._asked is not None:
            threading.Thread(target=self._wait, name="stop", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._calls.put(False)
