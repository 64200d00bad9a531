"""Networks for a pipeline: the interface, and an adapter for a custom function."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from .closing import Closing
from .errors import ComputeError
from .frame import BlurMap, Frame, Image


class Network(Protocol):
    """Computes blur maps of frames; `Engine` is one, and `FunctionNetwork` wraps a function.

    Attributes:
        seconds: spent on the map that was returned last.
    """

    seconds: float

    @abstractmethod
    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """Yield every frame of one clip with its blur map, in order.

        An error of ``frames`` is raised after the maps of the frames before it.

        Args:
            frames: iterated one frame at a time, in the thread that iterates the maps.
            depth: how many frames may be started before the first is finished; 1 for live video.
            size: width and height of the frames, if known.
        """

    def close(self) -> None:
        """Release all resources; the network may be used again."""


class FunctionNetwork(Closing):
    """A custom network made from a function of one image.

    Args:
        function: takes an image, uint8 BGR H x W x 3, read-only, and returns P(blurred): an array h x w of
            any size with the image's aspect ratio, 0 = in focus, 1 = blurred.
        name: name for legends and reports.

    Raises:
        ComputeError: during use, if the function raises a `ValueError` or returns anything else.
    """

    def __init__(self, function: Callable[[Image], Any], name: str = "function") -> None:
        self.function, self.name, self.seconds = function, name, 0.0

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """See `Network`; frames are computed one after the other."""
        for frame in frames:
            begun = time.monotonic()
            try:
                blur = BlurMap(np.array(self.function(frame.image), np.float32))
            except (TypeError, ValueError) as error:
                raise ComputeError(f"{self.name}, frame {frame.index}: {error}") from error
            self.seconds = time.monotonic() - begun
            yield frame, blur


def name_of(network: Network) -> str:
    """Return the name of a network for legends, or an empty string if it has none."""
    name = getattr(getattr(network, "info", network), "name", "")
    return name if isinstance(name, str) else ""
