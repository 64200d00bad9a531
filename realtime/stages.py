"""What the stages of a pipeline do, as generators: frame -> map -> smoothed -> refined -> drawn."""

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
    """A frame with its map, and the seconds that the map took."""

    frame: Frame
    blur: BlurMap
    network: float


class Ready(NamedTuple):
    """A frame that the smoothing gave back, and what it took until here."""

    smoothed: Smoothed
    network: float
    smoothing: float
    delay: float


def mapped(
    frames: Iterable[Frame], *, network: Network, depth: int, size: tuple[int, int] | None
) -> Generator[Mapped]:
    """Each frame with its map; see `Network.stream`."""
    for frame, blur in network.stream(frames, depth, size):
        yield Mapped(frame, blur, network.seconds)


def smoothed(maps: Iterable[Mapped], *, wanted: Callable[[], Smoother | None]) -> Generator[Ready]:
    """What is ready after each map.

    Another smoother begins, reset, when the one before has given back all its frames.

    Args:
        wanted: the smoother for the next map; asked for each.
    """
    active: Smoother | None = None
    waiting: deque[tuple[float, float]] = deque()  # seconds of what the smoother has

    def ready(given: list[Smoothed]) -> Iterator[Ready]:
        delay = 0.0 if active is None else active.delay
        for each in given:
            yield Ready(each, *waiting.popleft(), delay)

    try:
        for frame, blur, network in maps:
            if active is not (smoother := wanted()):
                yield from ready([] if active is None else active.flush())
                if smoother is not None:
                    smoother.reset()  # it may hold frames of a pipeline that was left early
            active = smoother
            begun = time.monotonic()
            given = [Smoothed(frame, blur, blur)] if active is None else active.add(frame, blur)
            waiting.append((network, time.monotonic() - begun))
            yield from ready(given)
    except Exception as error:
        try:  # the frames before it are complete
            yield from ready([] if active is None else active.flush())
        except Exception:
            raise error from None
        raise
    yield from ready([] if active is None else active.flush())


def refined(
    frames: Iterable[Ready], *, network: Network, wanted: Callable[[], RefineMode]
) -> Generator[FocusResult]:
    """The result of each frame, its map refined where that is wanted at the moment."""
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
    """Each result with the picture that ``draw`` makes of it."""
    for result in results:
        yield replace(result, drawn=draw(result))
