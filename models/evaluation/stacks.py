"""Evaluation on a focal stack: the focus moves from slice to slice; in which one is each region sharpest?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.models.sizes import regions

PLATEAU = 0.02  # a slice with a score this close to the best one, relatively, looks no worse

Values = NDArray[np.float32]


def contrast(image: NDArray[np.uint8]) -> list[float]:
    """Return the mean squared gradient (Tenengrad) of every region at the picture's own size."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    energy = cv2.Sobel(gray, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(gray, cv2.CV_32F, 0, 1) ** 2
    boxes = regions(image.shape[1], image.shape[0])
    return [float(energy[y : y + h, x : x + w].mean()) for x, y, w, h in boxes]


def judge_stack(scores: Sequence[Sequence[float]], truth: Sequence[int]) -> dict[str, Any]:
    """Measure how well the scores of a stack find the slice in which each region is sharpest.

    Args:
        scores: for each slice, the score of each region, larger = sharper.
        truth: for each region, the slice in which it is sharpest.

    Returns:
        ``exact`` and ``within_1`` (shares of the regions), ``plateau`` (mean number of slices that are no
        worse than the best one, see `PLATEAU`), ``best`` (the slice for each region), ``slices`` and
        ``regions`` (their numbers).
    """
    table = np.asarray(scores, np.float64)
    best = table.argmax(0)
    off = np.abs(best - np.asarray(truth))
    top = table.max(0)
    plateau = (table >= top - PLATEAU * np.abs(top)).sum(0)
    return {
        "slices": len(table),
        "regions": table.shape[1],
        "exact": float((off == 0).mean()),
        "within_1": float((off <= 1).mean()),
        "plateau": float(plateau.mean()),
        "best": best.tolist(),
    }
