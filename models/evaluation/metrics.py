"""Metrics of a blur map against a mask.

A map is P(blurred) in [0, 1] at the mask's size; a mask is True where blurred. Two 256-bin histograms per
image (over blurred and over in-focus pixels) give every metric that depends on a threshold.

>>> import numpy as np
>>> mask = np.array([[True, False]])
>>> summarise([measure(np.array([[1.0, 0.0]], np.float32), mask)])["mae"]
0.0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

BETA2 = 0.3
BINS = 256
BOUNDARY_RADIUS = 3

Histogram = NDArray[np.int64]
Curve = NDArray[np.float64]
Positive = Literal["blurred", "focused"]


@dataclass(frozen=True)
class ImageScore:
    """The contribution of one image: its MAE, and histograms of P over blurred and in-focus pixels.

    ``boundary_blurred`` and ``boundary_focused`` are the same histograms within the band around the edge. Bin
    ``b`` of 0 to 255 holds the values of P that round to b / 255; the upper half, from bin 128, is P >= .5.
    """

    mae: float
    blurred: Histogram
    focused: Histogram
    boundary_blurred: Histogram
    boundary_focused: Histogram

    @property
    def has_both_classes(self) -> bool:
        """False if F and AUC are undefined."""
        return bool(self.blurred.any() and self.focused.any())

    @property
    def has_boundary(self) -> bool:
        """False if F at the boundary is undefined."""
        return bool(self.boundary_blurred.any() and self.boundary_focused.any())


def measure(
    blur: NDArray[np.float32], mask: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> ImageScore:
    """Compare one map with its mask.

    Args:
        blur: float H x W in [0, 1], 1 = blurred.
        mask: bool H x W, True = blurred.
        valid: bool H x W, False where the data set has no label; None = all valid.

    Raises:
        ValueError: shapes differ, a value is not in [0, 1], or no pixel is valid.
    """
    if blur.shape != mask.shape or (valid is not None and valid.shape != mask.shape):
        raise ValueError(f"map {blur.shape} and mask {mask.shape} differ in size")
    valid = np.ones_like(mask) if valid is None else valid
    if not valid.any():
        raise ValueError("the mask has no valid pixel")
    if not (np.isfinite(blur).all() and blur.min() >= 0 and blur.max() <= 1):
        raise ValueError("the map has values outside [0, 1]")
    bins = np.floor(blur * (BINS - 1) + 0.5).astype(np.uint8)
    blurred, focused = valid & mask, valid & ~mask
    band = _near(blurred) & _near(focused)
    return ImageScore(
        mae=float(np.abs(blur - mask)[valid].mean(dtype=np.float64)),
        blurred=_histogram(bins[blurred]),
        focused=_histogram(bins[focused]),
        boundary_blurred=_histogram(bins[band & blurred]),
        boundary_focused=_histogram(bins[band & focused]),
    )


def _histogram(bins: NDArray[np.uint8]) -> Histogram:
    return np.bincount(bins, minlength=BINS).astype(np.int64)


def _near(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels at most `BOUNDARY_RADIUS` px from one of ``pixels``."""
    reach = np.arange(-BOUNDARY_RADIUS, BOUNDARY_RADIUS + 1)
    disc = np.add.outer(reach**2, reach**2) <= BOUNDARY_RADIUS**2
    return cv2.dilate(pixels.astype(np.uint8), disc.astype(np.uint8)).astype(np.bool_)


def roc(score: ImageScore) -> tuple[Curve, Curve]:
    """Return false and true positive rates of blurred at 257 thresholds, from none to all positive."""
    tp = np.concatenate([[0], np.cumsum(score.blurred[::-1])])
    fp = np.concatenate([[0], np.cumsum(score.focused[::-1])])
    return fp / max(fp[-1], 1), tp / max(tp[-1], 1)


def auc(score: ImageScore) -> float:
    """Return the area under `roc` by trapezoids: ties count one half; undefined unless `has_both_classes`."""
    false_positive, true_positive = roc(score)
    return float(np.trapezoid(true_positive, false_positive))


def precision_recall(score: ImageScore, *, positive: Positive) -> tuple[Curve, Curve]:
    """Return precision and recall at 256 thresholds, strictest first.

    The thresholds are P >= 255/255, 254/255, ... for "blurred", and P <= 0/255, 1/255, ... for "focused". The
    precision of an empty detection is 0, as in pysodmetrics.
    """
    if positive == "blurred":
        hits, alarms = np.cumsum(score.blurred[::-1]), np.cumsum(score.focused[::-1])
    else:
        hits, alarms = np.cumsum(score.focused), np.cumsum(score.blurred)
    return hits / np.maximum(hits + alarms, 1), hits / max(int(hits[-1]), 1)


def f_measure(precision: Curve, recall: Curve) -> Curve:
    """Return F with beta^2 = .3; 0 where both are 0."""
    weighted = BETA2 * precision + recall
    return np.where(weighted > 0, (1 + BETA2) * precision * recall / np.maximum(weighted, 1e-12), 0)


def f50(score: ImageScore) -> float:
    """Return F at threshold .5, positive = blurred; meaningful if the image has both classes."""
    return _f50(score.blurred, score.focused)


def _f50(blurred: Histogram, focused: Histogram) -> float:
    half = BINS // 2
    hits, alarms = blurred[half:].sum(), focused[half:].sum()
    precision, recall = hits / max(hits + alarms, 1), hits / max(blurred.sum(), 1)
    return float(f_measure(np.asarray(precision), np.asarray(recall)))


def mean_precision_recall(scores: Sequence[ImageScore], *, positive: Positive) -> tuple[Curve, Curve]:
    """Return precision and recall, averaged over images for each threshold."""
    pairs = [precision_recall(s, positive=positive) for s in scores]
    return np.mean([p for p, _ in pairs], axis=0), np.mean([r for _, r in pairs], axis=0)


def _iou(scores: Sequence[ImageScore]) -> tuple[float | None, float | None]:
    """Return the pooled IoU of blurred and of in-focus at threshold .5; None where neither has a pixel."""
    half = BINS // 2
    blurred = np.sum([s.blurred for s in scores], axis=0)
    focused = np.sum([s.focused for s in scores], axis=0)
    wrong = int(blurred[:half].sum() + focused[half:].sum())
    right = int(blurred[half:].sum()), int(focused[:half].sum())
    both = [hits / (hits + wrong) if hits + wrong else None for hits in right]
    return both[0], both[1]


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def summarise(scores: Sequence[ImageScore]) -> dict[str, float | None]:
    """Return the metrics of a data set under their names in reports; None if no image defines them.

    ``mae`` and IoU are over all images; ``auc``, F and ``boundary_f`` are over those with both classes. If no
    image has both, ``false_alarm`` is added: mean abs(P - G), which is then the metric to read.

    Raises:
        ValueError: ``scores`` is empty.
    """
    if not scores:
        raise ValueError("no image was measured")
    both = [s for s in scores if s.has_both_classes]
    figures = {"mae": _mean(s.mae for s in scores), "auc": _mean(auc(s) for s in both)}
    sides: dict[str, Positive] = {"max_f_focus": "focused", "max_f_blur": "blurred"}
    for name, positive in sides.items():
        curves = mean_precision_recall(both, positive=positive) if both else None
        figures[name] = float(f_measure(*curves).max()) if curves else None
    figures["f50_blur"] = _mean(f50(s) for s in both)
    figures["iou_blur"], figures["iou_focus"] = _iou(scores)
    edges = [(s.boundary_blurred, s.boundary_focused) for s in both if s.has_boundary]
    figures["boundary_f"] = _mean(_f50(*edge) for edge in edges)
    return figures if both else figures | {"false_alarm": figures["mae"]}
