"""An image array that knows when it is shown."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Image


class FrameTime(NamedTuple):
    """The time of a frame, and its size.

    Attributes:
        seconds: presentation time.
        time_base: seconds per unit of the frame's timestamps.
        size: width and height of the frame in pixels.
    """

    seconds: Fraction
    time_base: Fraction
    size: tuple[int, int]

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Return the time of ``frame``."""
        return cls(frame.seconds, frame.time_base, frame.size)


class Picture(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """A uint8 BGR array with the time of the frame that it was made from.

    OpenCV and NumPy treat it as an ordinary array, and it may be drawn on in place. Views of it, such as a
    crop, keep the time. Arrays that are computed from it are plain arrays without one.

    Attributes:
        time: of the frame; None if unknown.
    """

    time: FrameTime | None

    @classmethod
    def of(cls, image: Image, frame: Frame) -> Self:
        """Return ``image`` as a picture of ``frame``, sharing its memory."""
        picture = image.view(cls)
        picture.time = FrameTime.of(frame)
        return picture

    def __array_finalize__(self, source: Any) -> None:
        shared = isinstance(source, Picture) and self.base is not None
        self.time = source.time if shared else None

    def __array_wrap__(self, array: NDArray[Any], *_: object) -> Any:
        return np.asarray(array)[()]

    @property
    def seconds(self) -> Fraction | None:
        """Presentation time in seconds, or None if unknown."""
        return None if self.time is None else self.time.seconds
