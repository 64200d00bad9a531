"""Pipeline stages as generators: frame -> blur map -> smoothed -> refined -> drawn."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .drawing.dispatch import drawer, refiner
from .drawing.refining import RefineMode
from .frame import BlurMap, Frame, Image
from .network import Network, name_of
from .result import FocusResult, Timing
from .smoothing.protocol import Smoothed, Smoother


class Mapped(NamedTuple):
    """A frame with its blur map and the seconds spent computing the map."""

    frame: Frame
    blur: BlurMap
    network: float


class Ready(NamedTuple):
    """A frame released by the smoother, with the timings so far in seconds."""

    smoothed: Smoothed
    network: float
    smoothing: float
    delay: float


def mapped(
    frames: Iterable[Frame], *, network: Network, depth: int, size: tuple[int, int] | None
) -> Generator[Mapped]:
    """Yield each frame with its blur map; see `Network.stream`."""
    for frame, blur in network.stream(frames, depth, size):
        yield Mapped(frame, blur, network.seconds)


def smoothed(maps: Iterable[Mapped], *, wanted: Callable[[], Smoother | None]) -> Generator[Ready]:
    """Yield the frames that are ready after each blur map.

    When the smoother changes, the old one is flushed first and the new one is reset before use.

    Args:
        wanted: returns the smoother for the next map; called once per map.
    """
    active: Smoother | None = None
    waiting: deque[tuple[float, float]] = deque()  # timings of the frames that the smoother holds

    def ready(given: list[Smoothed]) -> Iterator[Ready]:
        delay = 0.0 if active is None else active.delay
        for each in given:
            yield Ready(each, *waiting.popleft(), delay)

    try:
        for frame, blur, network in maps:
            if active is not (smoother := wanted()):
                yield from ready([] if active is None else active.flush())
                if smoother is not None:
                    smoother.reset()  # it may still hold frames from a pipeline that ended early
            active = smoother
            begun = time.monotonic()
            given = [Smoothed(frame, blur, blur)] if active is None else active.add(frame, blur)
            waiting.append((network, time.monotonic() - begun))
            yield from ready(given)
    except Exception as error:
        try:  # the earlier frames have valid maps
            yield from ready([] if active is None else active.flush())
        except Exception:
            raise error from None
        raise
    yield from ready([] if active is None else active.flush())


def refined(
    frames: Iterable[Ready], *, network: Network, wanted: Callable[[], RefineMode]
) -> Generator[FocusResult]:
    """Yield the result of each frame, with its map refined if ``wanted`` currently asks for it."""
    refine, painter, model = refiner(network), drawer(network), name_of(network)
    for (frame, raw, shown), spent, smoothing, delay in frames:
        begun = time.monotonic()
        mode = wanted()
        fine = refine(frame.image, shown, mode)
        now = time.monotonic()
        timing = Timing(frame.arrived, now, spent, smoothing, now - begun, delay)
        alone = None if shown is raw and mode == "off" else raw
        yield FocusResult(frame, fine, timing, raw=alone, model=model, painter=painter)


def with_picture(
    results: Iterable[FocusResult], *, draw: Callable[[FocusResult], Image]
) -> Generator[FocusResult]:
    """Yield each result with the picture that ``draw`` makes of it."""
    for result in results:
        yield replace(result, drawn=draw(result))
