"""Recording that is switched on and off while live sources run, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from br2focus.realtime.errors import SinkError
from br2focus.realtime.result import FocusResult
from br2focus.realtime.timeline import Timeline

from .sink import FileSink


class Recorder:
    """Passes results to sinks while it is on; `stop` may come from another thread than `write`.

    A take begins at 0 and is numbered through; where one source follows another, or comes back, the gap is as
    long as it really was.

    Attributes:
        error: why what was recorded is not complete, since the last `start`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: Sequence[FileSink] = ()
        self._clock, self._since = Timeline(), 0.0
        self._source: object = None
        self.error: Exception | None = None

    @property
    def seconds(self) -> float | None:
        """For how long it has been on; None while off."""
        return time.monotonic() - self._since if self._sinks else None

    def start(self, sinks: Sequence[FileSink]) -> None:
        """Record into ``sinks``, which belong to this object from now on.

        Raises:
            ValueError: it is on.
        """
        with self._lock:
            if self._sinks:
                raise ValueError("stop what is recorded before the next recording")
            self._sinks, self._clock, self._since = sinks, Timeline(), time.monotonic()
            self.error = None

    def write(self, result: FocusResult, source: object = None) -> None:
        """Record one result of ``source``; where that is another one, the time line takes the real gap.

        Raises:
            SinkError: it cannot be written; the recording is over, the text names what is left of it.
        """
        with self._lock:
            if not self._sinks:
                return
            if source is not self._source:
                self._source = source
                self._clock.restart()
            stamped = replace(result, frame=self._clock.stamped(result.frame))
            try:
                for sink in self._sinks:
                    sink.write(stamped)
            except Exception as error:
                self.error = _naming(error, self._give_up())
                raise self.error from error

    def stop(self) -> list[Path]:
        """Complete what is recorded; its files. Results may come meanwhile, and are not recorded.

        Raises:
            SinkError: one of them could not be completed; the others are.
        """
        with self._lock:
            sinks, self._sinks = self._sinks, ()
        error: Exception | None = None
        for sink in sinks:
            try:
                sink.close()
            except Exception as caught:
                error = error or _naming(caught, [sink.kept] if sink.kept else [])
        if error is not None:
            self.error = error
            raise error
        return [sink.path for sink in sinks if sink.path.exists()]

    def _give_up(self) -> list[Path]:
        sinks, self._sinks = self._sinks, ()
        for sink in sinks:
            sink.abort()
        return [sink.kept for sink in sinks if sink.kept is not None]


def _naming(error: Exception, kept: Sequence[Path]) -> Exception:
    """``error`` with what is left of the recording."""
    if not kept or not isinstance(error, SinkError):
        return error
    return SinkError(f"{error}; what was written until then is {', '.join(map(str, kept))}")
