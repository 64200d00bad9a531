"""Pads small frames for the network and removes the padding from their maps."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from br2focus.models.sizes import GRID
from br2focus.realtime.frame import Image, Values

from .backends import shrink


class Fitted(NamedTuple):
    """An image as a backend accepts it, and the width and height of its unpadded part."""

    picture: Image
    used: tuple[int, int]


def fit(image: Image, long_side: int) -> Fitted:
    """Return ``image`` itself, or downscaled and padded if a side would be under 32 pixels in the network."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    if min(height, width) * scale >= GRID:
        return Fitted(image, (width, height))
    used = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = shrink(image, used)
    right, bottom = (max(GRID - side, 0) for side in used)
    padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
    return Fitted(np.asarray(padded, np.uint8), used)


def without_padding(values: Values, fitted: Fitted) -> Values:
    """Return ``values`` (h x w, or planes x h x w) without padding; unchanged if there is none."""
    height, width = fitted.picture.shape[:2]
    if fitted.used == (width, height):
        return values
    if values.ndim == 3:
        return np.stack([without_padding(plane, fitted) for plane in values])
    padded = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.array(padded[: fitted.used[1], : fitted.used[0]], np.float32)
