"""Runs a predictor over a folder with masks and collects its metrics."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Folder, Image, Mask, Sample, UnreadableError
from .metrics import ImageScore, auc, f50, measure, summarise

Values = NDArray[np.float32]
Predictor = Callable[[Image], Values]
Report = dict[str, Any]


@dataclass(frozen=True)
class ImageResult:
    """One image of an evaluation; ``auc`` and ``f50`` are None if a class is missing."""

    name: str
    score: ImageScore

    @property
    def mae(self) -> float:
        """Mean abs(P - G) over the labelled pixels."""
        return self.score.mae

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve."""
        return auc(self.score) if self.score.has_both_classes else None

    @property
    def f50(self) -> float | None:
        """F of blurred at threshold .5."""
        return f50(self.score) if self.score.has_both_classes else None


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and the reason in one line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """The results of all images.

    Attributes:
        images: the measured images, in the folder's order.
        skipped: the unreadable ones.
        ms_per_image: median time of the predictor alone, in milliseconds.
    """

    images: tuple[ImageResult, ...]
    skipped: tuple[Skipped, ...]
    ms_per_image: float

    def report(self, model: str, device: str) -> Report:
        """Return the JSON object of ``br2focus evaluate``.

        ``one_class`` is added if some, but not all, images lack a class: these count only in ``mae`` and IoU.
        """
        scores = [image.score for image in self.images]
        one_class = sum(not s.has_both_classes for s in scores)
        report: Report = {
            "model": model,
            "device": device,
            "images": len(self.images),
            "skipped": len(self.skipped),
            "ms_per_image": self.ms_per_image,
            "metrics": summarise(scores),
        }
        return report | {"one_class": one_class} if 0 < one_class < len(scores) else report

    def rows(self) -> list[dict[str, str | float | None]]:
        """Return name, MAE, AUC and F of every image, largest MAE first: where to look for failures."""
        ordered = sorted(self.images, key=lambda image: -image.mae)
        return [{"name": i.name, "mae": i.mae, "auc": i.auc, "f50": i.f50} for i in ordered]


def evaluate(
    predict: Predictor,
    folder: Folder,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a predictor on every image of a folder.

    Maps are compared at the mask's own size. The first image is predicted once before the clock starts, and
    ``ms_per_image`` is a median. So it excludes loading, and compiling for a new size.

    Args:
        predict: uint8 BGR H x W x 3 -> P(blurred), float32 of any size, in [0, 1].
        folder: images and masks.
        progress: called after each image with the number done and the total.

    Raises:
        FolderError: a folder, list or file is missing.
        UnreadableError: no image could be read.
        ValueError: a map has wrong dimensions, or values outside [0, 1].
    """
    pairs = folder.pairs()
    images: list[ImageResult] = []
    skipped: list[Skipped] = []
    seconds: list[float] = []
    for done, pair in enumerate(pairs, start=1):
        name = pair.image.stem
        try:
            sample = folder.read(pair, fit_mask=False)
        except UnreadableError as error:
            skipped.append(Skipped(name, str(error)))
        else:
            if not images:
                predict(sample.image)
            blur, took = _timed(predict, sample.image)
            seconds.append(took)
            images.append(ImageResult(name, _score(blur, sample, name)))
        if progress:
            progress(done, len(pairs))
    if not images:
        raise UnreadableError(f"none of {len(pairs)} images can be read, first: {skipped[0].reason}")
    return Evaluation(tuple(images), tuple(skipped), 1000 * statistics.median(seconds))


def _timed(predict: Predictor, image: Image) -> tuple[Values, float]:
    start = time.perf_counter()
    blur = predict(image)
    return blur, time.perf_counter() - start


def _score(blur: Values, sample: Sample, name: str) -> ImageScore:
    if blur.ndim != 2 or not blur.size:
        raise ValueError(f"the map of {name} has the shape {blur.shape}, not H x W")
    try:
        return measure(_at_size_of(sample.mask, blur), sample.mask, sample.valid)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _at_size_of(mask: Mask, blur: Values) -> Values:
    if blur.shape == mask.shape:
        return blur
    size = (mask.shape[1], mask.shape[0])
    resized = cv2.resize(blur.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    # Interpolation rounds. Clipping to the map's own range does not hide a value outside [0, 1].
    low, high = blur.min(), blur.max()
    return np.asarray(np.clip(resized, low, high), np.float32)


def table(report: Report) -> str:
    """Format a report as two aligned columns for a terminal, without a newline at the end."""
    rows = [("model", report["model"]), ("device", report["device"])]
    skipped = f" ({report['skipped']} skipped: unreadable)" if report["skipped"] else ""
    rows.append(("images", f"{report['images']}{skipped}"))
    if one_class := report.get("one_class"):
        rows.append(("one class only", f"{one_class}, left out of auc and F"))
    rows.append(("ms per image", f"{report['ms_per_image']:.1f}"))
    figures = report["metrics"].items()
    rows += [(name, "-" if value is None else f"{value:.4f}") for name, value in figures]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
