"""Runs a source, the engine, smoothing and refinement in threads; iterating yields the results.

    with Pipeline(source, engine, smoothing="adaptive") as results:
        for result in results:
            ...

Errors from the threads are raised where the results are iterated. Leaving the context stops every thread,
whatever its state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from .channel import Channel
from .drawing.refining import RefineMode, check_mode
from .errors import SourceError
from .frame import Frame, Image
from .network import Network
from .result import FocusResult
from .smoothing.factory import SmoothingSetting, as_smoother
from .smoothing.protocol import Smoother
from .sources.source import Source
from .stages import mapped, refined, smoothed, with_picture
from .stats import Statistics, StatsCollector

FILE_CAPACITY = 2
BETWEEN = 1  # frames that may wait between two stages of a file
FILE_DEPTH = 3  # on a CPU, two are computed at once and one waits
JOIN_SECONDS, LIVE_JOIN_SECONDS = 2.0, 0.2


_Work = Callable[[Any], Generator[Any]]


class Pipeline:
    """Runs ``source`` through a network, smoothing and refinement; a context manager, iterated once.

    Iterating it yields a `FocusResult` for each frame. You may leave the loop at any time: leaving the
    context stops and joins all threads. An error in any of them is raised in the loop, after the results of
    the frames before it.

    The policy follows ``source.info.live``. For a live source, the newest frame and result replace waiting
    ones, and one thread does all the work on a frame. For any other source, back-pressure ensures that every
    frame comes out exactly once, and each expensive stage has its own thread.

    Args:
        source: iterated and closed by the capture thread.
        network: an `Engine` or another `Network`; used only in the inference thread.
        smoothing: temporal smoothing of the maps: "adaptive", "look-ahead", "look-ahead:FRAMES", a time
            constant in seconds, a custom `Smoother`, or None for raw maps.
        refine: aligns the edges of the maps with those of the image: "off", "fast" or "best".
        draw: makes the ``drawn`` picture of each result, in its own thread unless the source is live; None
            for no picture.

    Raises:
        SettingsError: ``smoothing`` or ``refine`` is unknown.
    """

    def __init__(
        self,
        source: Source,
        network: Network,
        smoothing: Smoother | SmoothingSetting = None,
        *,
        refine: RefineMode = "off",
        draw: Callable[[FocusResult], Image] | None = None,
    ) -> None:
        check_mode(refine)
        live = source.info.live
        self._source, self._network, self._draw = source, network, draw
        self._smoothing, self._refine = as_smoother(smoothing, threaded=not live), refine
        self._frames: Channel[Frame] = Channel(1 if live else FILE_CAPACITY, drop=live)
        self._results: Channel[FocusResult] = Channel(1 if live else FILE_CAPACITY, drop=live)
        self._depth = 1 if live else FILE_DEPTH
        self._stats = StatsCollector()
        self._started: list[threading.Thread] = []
        self._threads = [_thread("capture", self._capture), *self._stages(live=live)]

    def _stages(self, *, live: bool) -> list[threading.Thread]:
        """Create the threads between capture and consumer, with channels from `_frames` to `_results`."""
        network, size = self._network, self._source.info.size
        maps: _Work = partial(mapped, network=network, depth=self._depth, size=size)
        smooth: _Work = partial(smoothed, wanted=lambda: self.smoothing)
        fine: _Work = partial(refined, network=network, wanted=lambda: self.refine)
        drawn: list[_Work] = [] if self._draw is None else [partial(with_picture, draw=self._draw)]
        stages: list[tuple[str, list[_Work]]]
        if live:
            stages = [("infer", [maps, smooth, fine, *drawn])]
        elif self.smoothing is None and self.refine == "off":
            stages = [("infer", [maps, smooth, fine]), ("draw", drawn)]
        else:
            stages = [("infer", [maps]), ("smooth", [smooth]), ("refine", [fine]), ("draw", drawn)]
        stages = [(name, works) for name, works in stages if works]
        between: list[Channel[Any]] = [Channel(BETWEEN) for _ in stages[1:]]
        self._channels = [self._frames, *between, self._results]
        return [
            _thread(name, self._run, works, source, target)
            for (name, works), (source, target) in zip(stages, pairwise(self._channels), strict=True)
        ]

    @property
    def smoothing(self) -> Smoother | None:
        """The smoother of the next frame; may be set to whatever the argument accepts."""
        return self._smoothing

    @smoothing.setter
    def smoothing(self, smoothing: Smoother | SmoothingSetting) -> None:
        self._smoothing = as_smoother(smoothing, threaded=not self._source.info.live)

    @property
    def refine(self) -> RefineMode:
        """How the map of the next frame is refined; may be set."""
        return self._refine

    @refine.setter
    def refine(self, mode: RefineMode) -> None:
        check_mode(mode)
        self._refine = mode

    def __enter__(self) -> Self:
        if self._started:
            raise RuntimeError("a pipeline runs once: make another one")
        try:
            for thread in self._threads:
                thread.start()
                self._started.append(thread)
        except BaseException:
            self._stop(wait_for_stages=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        released = self._stop(wait_for_stages=not isinstance(error, KeyboardInterrupt))
        if not released and error is None:
            raise SourceError(f"{self._source.info.name}: does not let go (capture is stuck)")

    def __iter__(self) -> Iterator[FocusResult]:
        if not self._started:
            raise RuntimeError("enter the pipeline first: with Pipeline(...) as pipeline")
        for result in self._results:
            self._stats.count(result.timing)
            yield result

    @property
    def stats(self) -> Statistics:
        """Counters and latencies so far."""
        return self._stats.snapshot(self.dropped)

    @property
    def dropped(self) -> int:
        """Frames and results replaced by newer ones; cheaper to read than `stats`."""
        return self._frames.dropped + self._results.dropped

    def reset_figures(self) -> None:
        """Restart the measurement of rates and latencies."""
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

    def _run(self, works: list[_Work], source: Channel[Any], target: Channel[Any]) -> None:
        """Run a stage: feed ``source`` through ``works`` into ``target``, then pass on any error."""
        error: BaseException | None = None
        chain = [works[0](source)]
        for work in works[1:]:
            chain.append(work(chain[-1]))
        try:
            for item in chain[-1]:
                if not target.put(item, keep=source.ended):
                    break
        except BaseException as caught:
            error = caught
        source.cancel()
        try:
            for made in reversed(chain):  # a traceback can keep an abandoned generator alive
                made.close()
        except BaseException as caught:
            error = error or caught
        target.close(error)

    def _stop(self, *, wait_for_stages: bool) -> bool:
        """Cancel the channels and join the threads.

        Cancelled stages always end. With ``wait_for_stages`` set to False, the caller does not wait for a
        stage that is still busy, for example with converting a model.

        Returns:
            False if the source is stuck in a driver call, else True.
        """
        for channel in self._channels:
            channel.cancel()
        capture, *stages = self._threads
        if capture in self._started:
            # A live source may take long to deliver its next frame.
            capture.join(LIVE_JOIN_SECONDS if self._source.info.live else JOIN_SECONDS)
            if capture.is_alive():
                with suppress(Exception):
                    self._source.close()  # closing from this thread may unblock a read
                capture.join(JOIN_SECONDS)
        for stage in stages:
            if stage in self._started:
                stage.join(None if wait_for_stages else LIVE_JOIN_SECONDS)
        return not capture.is_alive()


def _thread(name: str, job: Callable[..., None], *given: object) -> threading.Thread:
    return threading.Thread(target=job, name=name, args=given, daemon=True)
