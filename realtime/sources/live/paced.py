"""Plays a file like a live source: each frame at its own time, without waiting for slow consumers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import Source, WrappedSource


class PacedSource(WrappedSource):
    """Delivers each frame of ``source`` at its presentation time.

    Args:
        source: the source to pace; closed together with this one.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.info = replace(source.info, live=True)
        self._closed = threading.Event()

    def close(self) -> None:
        """End the iteration; may be called from any thread."""
        self._closed.set()
        super().close()

    def __iter__(self) -> Iterator[Frame]:
        begun: float | None = None
        for frame in self._source:
            second = float(frame.seconds)
            begun = time.monotonic() - second if begun is None else begun
            if self._closed.wait(max(0.0, begun + second - time.monotonic())):
                return
            yield replace(frame, arrived=time.monotonic())
