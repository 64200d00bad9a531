"""Downscaling by repeated halving: every pixel counts, in a fraction of the time of area averaging."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from .frame import Image, Values

Picture = TypeVar("Picture", Image, Values)


def halvings(width: int, height: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes on the way to ``size``: each half of the previous one, then ``size`` itself."""
    steps = []
    while width // 2 >= size[0] and height // 2 >= size[1]:
        width, height = width // 2, height // 2
        steps.append((width, height))
    return steps if steps and steps[-1] == size else [*steps, size]


def halved(values: Picture, size: tuple[int, int]) -> Picture:
    """Return ``values`` at ``size`` (width, height), which must not be larger; the dtype is kept."""
    for step in halvings(values.shape[1], values.shape[0], size):
        if (values.shape[1], values.shape[0]) != step:
            values = np.asarray(cv2.resize(values, step), values.dtype)
    return values
