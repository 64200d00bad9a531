"""What a pipeline computes maps with: the shipped engine, or a network of your own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from .closing import Closing
from .frame import BlurMap, Frame, Image


class Network(Protocol):
    """Gives blur maps of frames. `Engine` is one; `FunctionNetwork` makes one from a function."""

    @property
    def seconds(self) -> float:
        """Seconds spent on the map that was given last."""

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """Every frame of one clip with its map, in order.

        An error of ``frames`` is raised after the maps of the frames before it.

        Args:
            frames: asked for one at a time, from the thread that asks for the maps.
            depth: how many frames may be started before the first is finished; 1 for live pictures.
            size: width and height of the frames where they are known.
        """

    def close(self) -> None:
        """Release what is held; it may be used again."""


class FunctionNetwork(Closing):
    """A network of your own, from a function of one picture.

    Args:
        function: takes a picture, uint8 BGR H x W x 3, read-only, and gives P(blurred): an array h x w of
            any size in the shape of the picture, 0 = in focus, 1 = blurred.
        name: for legends and reports.

    Raises:
        ValueError: while it is used, the function gave something else.
    """

    def __init__(self, function: Callable[[Image], Any], name: str = "function") -> None:
        self.function, self.name, self.seconds = function, name, 0.0

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """See `Network`; frames are computed one after the other."""
        for frame in frames:
            begun = time.monotonic()
            blur = BlurMap(np.array(self.function(frame.image), np.float32))
            self.seconds = time.monotonic() - begun
            yield frame, blur


def name_of(network: Network) -> str:
    """The name of a network for legends; "" where it has none."""
    name = getattr(getattr(network, "info", network), "name", "")
    return name if isinstance(name, str) else ""
