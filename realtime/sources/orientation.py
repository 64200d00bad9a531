"""Upright orientation of stored video frames, from display matrices.

>>> Orientation.from_matrix([0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30]).size((640, 360))
(360, 640)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2

from br2focus.realtime.frame import Image


class Orientation(NamedTuple):
    """A rotation by a multiple of 90 degrees, optionally mirrored.

    Attributes:
        transpose: first swap rows and columns.
        flip_x, flip_y: then mirror left-right, top-bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Orientation:
        """Create an orientation from a display matrix.

        The matrix has nine integers in row-major order, as stored by FFmpeg and ISO 14496-12. Scale and
        translation are ignored.

        Raises:
            ValueError: it is not a rotation by a multiple of 90 degrees.
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
        """Return width and height after the rotation."""
        return (size[1], size[0]) if self.transpose else size

    def apply(self, image: Image) -> Image:
        """Return the upright image, H x W x 3; the same object if nothing changes."""
        if self.transpose:
            image = cv2.transpose(image)  # type: ignore[assignment]
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = cv2.flip(image, code)  # type: ignore[assignment]
        return image
