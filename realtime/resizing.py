"""Making pictures and maps smaller, by halves: all pixels count, at a fraction of an area average's time."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from .frame import Image, Values

Picture = TypeVar("Picture", Image, Values)


def halvings(width: int, height: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes to go through down to ``size``: each half of the one before, and last ``size`` itself."""
    steps = []
    while width // 2 >= size[0] and height // 2 >= size[1]:
        width, height = width // 2, height // 2
        steps.append((width, height))
    return steps if steps and steps[-1] == size else [*steps, size]


def halved(values: Picture, size: tuple[int, int]) -> Picture:
    """``values`` at ``size`` (width, height), which is not larger; of the same dtype."""
    for step in halvings(values.shape[1], values.shape[0], size):
        if (values.shape[1], values.shape[0]) != step:
            values = np.asarray(cv2.resize(values, step), values.dtype)
    return values
