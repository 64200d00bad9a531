"""An image array that carries its presentation time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

import numpy as np

from .frame import Frame, Image


class Picture(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """A uint8 BGR array with the frame that it was made from.

    OpenCV and NumPy treat it as an ordinary array. Arrays computed from it keep the frame, so a `VideoWriter`
    can write them at the right time. Arrays created in other ways carry no frame.

    Attributes:
        frame: the frame that the picture was made from, or None if unknown.
    """

    frame: Frame | None

    @classmethod
    def of(cls, image: Image, frame: Frame) -> Self:
        """Return ``image`` as a picture of ``frame``, sharing its memory."""
        picture = image.view(cls)
        picture.frame = frame
        return picture

    def __array_finalize__(self, source: Any) -> None:
        self.frame = getattr(source, "frame", None)

    @property
    def seconds(self) -> Fraction | None:
        """Presentation time in seconds, or None if unknown."""
        return None if self.frame is None else self.frame.seconds
