"""How a stored picture must be turned to stand upright: display matrices of video files.

>>> Orientation.from_matrix([0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30]).size((640, 360))
(360, 640)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2

from br2focus.realtime.frame import Image


class Orientation(NamedTuple):
    """A turn by a multiple of 90 degrees, with or without a mirror.

    Attributes:
        transpose: first exchange rows and columns.
        flip_x, flip_y: then mirror left-right, top-bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Orientation:
        """Of a display matrix: nine integers, row by row, as FFmpeg and ISO 14496-12 store them.

        Raises:
            ValueError: it is not a turn by a multiple of 90 degrees; scale and translation are ignored.
        """
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
        small = max(map(abs, (a, b, c, d))) // 100
        straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
        if straight > small and max(abs(b), abs(c)) <= small:
            return cls(False, a < 0, d < 0)
        if crossed > small and max(abs(a), abs(d)) <= small:
            return cls(True, c < 0, b < 0)
        raise ValueError(f"not a multiple of 90 degrees: {a} {b} {c} {d}")

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height after the turn."""
        return (size[1], size[0]) if self.transpose else size

    def apply(self, image: Image) -> Image:
        """The upright image, H x W x 3; the same object when nothing is to be done."""
        if self.transpose:
            image = cv2.transpose(image)  # type: ignore[assignment]
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = cv2.flip(image, code)  # type: ignore[assignment]
        return image
