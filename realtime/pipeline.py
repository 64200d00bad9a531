"""Joins a source, the engine and the smoothing with two threads; iterates results.

    with Pipeline(source, engine) as pipeline:
        for result in pipeline:
            ...

Errors of a thread are raised where the results are read. Leaving the context stops both threads from
any state.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from .channel import Channel
from .engine import Engine
from .errors import SourceError
from .frame import BlurMap, FocusResult, Frame, Timing
from .refining import RefineMode, refine
from .smoothing import Smoothed, Smoother
from .source import Source
from .stats import Snapshot, Stats

FILE_CAPACITY = 4
FILE_DEPTH = 3  # on a CPU two computed at once and one waiting
JOIN_SECONDS, LIVE_JOIN_SECONDS = 2.0, 0.2


class Pipeline:
    """Runs ``source`` through ``engine`` and ``smoothing``.

    A live source replaces waiting frames and results by the newest; any other source waits, so that
    every frame comes out once. The policy follows ``source.info.live``.

    Args:
        source: iterated and closed by the capture thread.
        engine: used by the inference thread alone, which detaches it at the end.
        smoothing: None for raw maps.
        refining: see `refining.refine`.

    Attributes:
        smoothing, refining: may be replaced while it runs; the next frame uses them.
    """

    def __init__(
        self, source: Source, engine: Engine, smoothing: Smoother | None = None,
        *, refining: RefineMode = "off",
    ) -> None:  # fmt: skip
        self._source, self._engine = source, engine
        self.smoothing, self.refining = smoothing, refining
        live = source.info.live
        self._frames: Channel[Frame] = Channel(1 if live else FILE_CAPACITY, drop=live)
        self._results: Channel[FocusResult] = Channel(1 if live else FILE_CAPACITY, drop=live)
        self._depth = 1 if live else FILE_DEPTH
        self._stats = Stats()
        self._active: Smoother | None = None
        self._waiting: deque[tuple[float, float]] = deque()  # seconds of what the smoother has
        self._started: list[threading.Thread] = []
        self._threads = [
            threading.Thread(target=self._capture, name="capture", daemon=True),
            threading.Thread(target=self._infer, name="infer", daemon=True),
        ]

    def __enter__(self) -> Self:
        if self._started:
            raise RuntimeError("a pipeline runs once: make another one")
        try:
            for thread in self._threads:
                thread.start()
                self._started.append(thread)
        except BaseException:
            self._stop(patient=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        released = self._stop(patient=not isinstance(error, KeyboardInterrupt))
        if not released and error is None:
            raise SourceError(f"{self._source.info.name}: does not let go (capture is stuck)")

    def __iter__(self) -> Iterator[FocusResult]:
        if not self._started:
            raise RuntimeError("enter the pipeline first: with Pipeline(...) as pipeline")
        for result in self._results:
            self._stats.count(result.timing)
            yield result

    @property
    def stats(self) -> Snapshot:
        """Counters and latencies so far."""
        return self._stats.snapshot(self.dropped)

    @property
    def dropped(self) -> int:
        """Frames and results that were replaced by newer ones; cheaper than all of `stats`."""
        return self._frames.dropped + self._results.dropped

    def reset_figures(self) -> None:
        """Count rate and age from now on."""
        self._stats.reset()

    def _capture(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._source:
                if not self._frames.put(frame):
                    break
        except BaseException as caught:
            error = caught
        try:
            self._source.close()
        except BaseException as caught:
            error = error or caught
        self._frames.close(error)

    def _infer(self) -> None:
        error: BaseException | None = None
        wanted = True
        try:
            size = self._source.info.size
            for frame, blur in self._engine.stream(self._frames, self._depth, size):
                wanted = self._give(self._smoothed(frame, blur))
                if not wanted:
                    break
        except BaseException as caught:
            error = caught
        self._frames.cancel()
        try:
            try:
                if wanted:
                    self._give(self._last(), last=True)  # before an error too: they are complete
            finally:
                self._engine.detach()
        except BaseException as caught:
            error = error or caught
        self._results.close(error)

    def _smoothed(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """What is ready after the next map; another smoother begins when the one before has given all."""
        ready = [] if self.smoothing is self._active else self._last()
        self._active = self.smoothing
        begun = time.monotonic()
        if self._active is None:
            ready.append(Smoothed(frame, blur, blur))
        else:
            ready += self._active.add(frame, blur)
        self._waiting.append((self._engine.seconds, time.monotonic() - begun))
        return ready

    def _last(self) -> list[Smoothed]:
        return [] if self._active is None else self._active.flush()

    def _give(self, ready: list[Smoothed], *, last: bool = False) -> bool:
        """Refine and pass on, the ``last`` without dropping any; False when nobody wants more."""
        delay = 0.0 if self._active is None else self._active.delay
        for frame, raw, shown in ready:
            network, smoothing = self._waiting.popleft()
            begun = time.monotonic()
            fine = refine(frame.image, shown, self.refining)
            now = time.monotonic()
            timing = Timing(frame.arrived, now, network, smoothing, now - begun, delay)
            result = FocusResult(frame, fine, timing, raw=None if fine is raw else raw)
            if not self._results.put(result, keep=last):
                return False
        return True

    def _stop(self, *, patient: bool) -> bool:
        """Cancel both channels and join; False if the source stays in a driver's call.

        The work of the inference thread always ends, since nobody listens and nothing comes; whoever is not
        ``patient`` does not wait for a model that is being converted.
        """
        self._results.cancel()
        self._frames.cancel()
        capture, infer = self._threads
        if capture in self._started:
            # The next frame of a live source may be long in coming.
            capture.join(LIVE_JOIN_SECONDS if self._source.info.live else JOIN_SECONDS)
            if capture.is_alive():
                with suppress(Exception):
                    self._source.close()  # from outside: may release a read that blocks
                capture.join(JOIN_SECONDS)
        if infer in self._started:
            infer.join(None if patient else LIVE_JOIN_SECONDS)
        return not capture.is_alive()
