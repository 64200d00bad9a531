"""Recording that can be switched on and off while a sequence of live sources runs."""

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
    """Passes results to sinks while recording; `stop` and `write` may be called from different threads.

    Each recording starts at time 0 with consecutive frame numbers. When one source follows another, or comes
    back, the recording contains the gap at its real length.

    Attributes:
        error: why the recording since the last `start` is incomplete, or None.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: Sequence[FileSink] = ()
        self._clock, self._since = Timeline(), 0.0
        self._source: object = None
        self.error: Exception | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds since the recording started; None while it is off."""
        return time.monotonic() - self._since if self._sinks else None

    def start(self, sinks: Sequence[FileSink]) -> None:
        """Start recording into ``sinks`` and take ownership of them.

        Raises:
            ValueError: a recording is already running.
        """
        with self._lock:
            if self._sinks:
                raise ValueError("stop what is recorded before the next recording")
            self._sinks, self._clock, self._since = sinks, Timeline(), time.monotonic()
            self.error = None

    def write(self, result: FocusResult, source: object = None) -> None:
        """Record one result of ``source``; if the source has changed, the real time gap is kept.

        Raises:
            SinkError: it cannot be written. The recording has ended, and the message names the files that
                are left.
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
                self.error = _with_kept_files(error, self._give_up())
                raise self.error from error

    def stop(self) -> list[Path]:
        """Complete the recording; results that arrive meanwhile are not recorded.

        Returns:
            The recorded files.

        Raises:
            SinkError: one file could not be completed; the others are complete.
        """
        with self._lock:
            sinks, self._sinks = self._sinks, ()
        error: Exception | None = None
        for sink in sinks:
            try:
                sink.close()
            except Exception as caught:
                error = error or _with_kept_files(caught, [sink.kept] if sink.kept else [])
        if error is not None:
            self.error = error
            raise error
        return [sink.path for sink in sinks if sink.path.exists()]

    def _give_up(self) -> list[Path]:
        sinks, self._sinks = self._sinks, ()
        for sink in sinks:
            sink.abort()
        return [sink.kept for sink in sinks if sink.kept is not None]


def _with_kept_files(error: Exception, kept: Sequence[Path]) -> Exception:
    """Return ``error`` with the files that are left of the recording added to its message."""
    if not kept or not isinstance(error, SinkError):
        return error
    return SinkError(f"{error}; what was written until then is {', '.join(map(str, kept))}")
