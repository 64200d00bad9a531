"""A picture that knows when it is shown."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

import numpy as np

from .frame import Frame, Image


class Picture(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """A uint8 BGR array with the time of the frame that it was made from.

    It is an ordinary array for OpenCV and NumPy. What is computed from it keeps the time, so that it can be
    written to a `VideoWriter` at the right moment. A new array made by other means has none.

    Attributes:
        frame: the frame it was made from; None where that is not known.
    """

    frame: Frame | None

    @classmethod
    def of(cls, image: Image, frame: Frame) -> Self:
        """``image`` as a picture of ``frame``; shares its memory."""
        picture = image.view(cls)
        picture.frame = frame
        return picture

    def __array_finalize__(self, source: Any) -> None:
        self.frame = getattr(source, "frame", None)

    @property
    def seconds(self) -> Fraction | None:
        """Presentation time in seconds; None where it is not known."""
        return None if self.frame is None else self.frame.seconds
