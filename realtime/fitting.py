"""A frame to what a backend takes, and a map back to the frame."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from br2focus.models.sizes import GRID

from .backends import shrink
from .frame import BlurMap, Image, Values


class Fitted(NamedTuple):
    """A picture as a backend takes it, and the width and height of it that is not padding."""

    picture: Image
    used: tuple[int, int]


def fit(image: Image, long_side: int) -> Fitted:
    """``image`` itself; one whose side would be under 32 pixels in the network is shrunk and padded."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    if min(height, width) * scale >= GRID:
        return Fitted(image, (width, height))
    used = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = shrink(image, used)
    right, bottom = (max(GRID - side, 0) for side in used)
    padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
    return Fitted(np.asarray(padded, np.uint8), used)


def at_frame_size(values: Values, fitted: Fitted, size: tuple[int, int]) -> BlurMap:
    """A map at the network's size -> at the fitted picture's -> without padding -> at ``size``."""
    height, width = fitted.picture.shape[:2]
    values = _resized(values, (width, height))[: fitted.used[1], : fitted.used[0]]
    values = np.ascontiguousarray(_resized(values, size))
    # Interpolation of ones may exceed one by a rounding error.
    cv2.threshold(values, 1, 1, cv2.THRESH_TRUNC, dst=values)
    return BlurMap(values)


def _resized(values: Values, size: tuple[int, int]) -> Values:
    if (values.shape[1], values.shape[0]) == size:
        return values
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
