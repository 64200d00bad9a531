"""Recording that is switched on and off while a live source runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .frame import FocusResult
from .sink import FileSink


class Recorder:
    """Passes results to sinks while it is on; `stop` may come from another thread than `write`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: Sequence[FileSink] = ()
        self._since = 0.0

    @property
    def seconds(self) -> float | None:
        """For how long it has been on; None while off."""
        return time.monotonic() - self._since if self._sinks else None

    def start(self, sinks: Sequence[FileSink]) -> None:
        """Record into ``sinks``, which belong to this object from now on; what ran before is completed.

        Raises:
            SinkError: what ran before could not be completed.
        """
        try:
            self.stop()
        except BaseException:
            for sink in sinks:
                sink.abort()
            raise
        with self._lock:
            self._sinks, self._since = sinks, time.monotonic()

    def write(self, result: FocusResult) -> None:
        """Record one result.

        Raises:
            SinkError: it cannot be written; the recording is over, its playable part is kept.
        """
        with self._lock:
            try:
                for sink in self._sinks:
                    sink.write(result)
            except BaseException:
                self._give_up()
                raise

    def stop(self) -> list[Path]:
        """Complete what is recorded; its files.

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
                    error = error or caught
            if error is not None:
                raise error
            return [sink.path for sink in sinks if sink.path.exists()]

    def _give_up(self) -> None:
        for sink in self._sinks:
            sink.abort()
        self._sinks = ()
