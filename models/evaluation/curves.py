"""Precision-recall, ROC and F curves of one or more evaluations, as PNG files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from br2focus.models.paths import AnyPath

from .metrics import BINS, Curve, ImageScore, Positive, f_measure, mean_precision_recall, roc
from .run import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; the dashes distinguish lines in gray.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":")
ROC_RATES = np.linspace(0, 1, 513)
SIDES: tuple[tuple[Positive, str], ...] = (("blurred", "blurred"), ("focused", "in focus"))


class Curves(NamedTuple):
    """The curves of one model: means over the images that have both classes.

    ``pr`` has precision and recall at 256 thresholds, strictest first, with either class as the positive one.
    ``roc`` has the true positive rate of blurred at 513 evenly spaced false positive rates.
    """

    pr: dict[Positive, tuple[Curve, Curve]]
    roc: Curve

    def rounded(self) -> dict[str, Any]:
        """Return the curves as JSON values with four decimals."""
        pr = {side: [np.round(c, 4).tolist() for c in curves] for side, curves in self.pr.items()}
        return {"pr": pr, "roc": np.round(self.roc, 4).tolist()}

    @staticmethod
    def read(values: Mapping[str, Any]) -> Curves:
        """Restore the curves that `rounded` returned."""
        pr = {side: (np.array(p), np.array(r)) for side, (p, r) in values["pr"].items()}
        return Curves(pr, np.array(values["roc"]))


class _Line(NamedTuple):
    """A model in a plot, and how it is drawn."""

    name: str
    curves: Curves
    style: dict[str, Any]


def curves_of(evaluation: Evaluation) -> Curves:
    """Return the mean curves of an evaluation.

    Raises:
        ValueError: no image has both blurred and sharp pixels.
    """
    scores = [i.score for i in evaluation.images if i.score.has_both_classes]
    if not scores:
        raise ValueError("there is no curve: no image has both blurred and sharp pixels")
    pr = {side: mean_precision_recall(scores, positive=side) for side, _ in SIDES}
    return Curves(pr, mean_roc(scores))


def mean_roc(scores: Sequence[ImageScore]) -> Curve:
    """Return the true positive rate at `ROC_RATES`, averaged over images.

    The area under it is the mean ``auc`` of the report, up to the grid of 513 rates.
    """
    return np.asarray(np.mean([np.interp(ROC_RATES, *roc(s)) for s in scores], axis=0))


def plot_curves(models: Mapping[str, Curves], folder: AnyPath) -> list[Path]:
    """Draw all models into ``pr.png``, ``roc.png`` and ``f.png``.

    Args:
        models: name in the legend -> curves.
        folder: created if missing; each file appears complete or not at all.

    Returns:
        The files.

    Raises:
        ValueError: there is no model.
        OSError: a file cannot be written.
    """
    if not models:
        raise ValueError("there is no evaluation to draw")
    lines, folder = list(_lines(models)), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {"pr.png": _draw_pr, "roc.png": _draw_roc, "f.png": _draw_f}
    return [_save(_figure(draw, lines), folder / name) for name, draw in drawings.items()]


def _lines(models: Mapping[str, Curves]) -> Iterator[_Line]:
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(DASHES), strict=False)
    for (name, curves), (colour, dash) in zip(models.items(), styles, strict=False):
        yield _Line(name, curves, {"color": colour, "linestyle": dash})


def _figure(draw: Callable[[Figure, Sequence[_Line]], None], lines: Sequence[_Line]) -> Figure:
    from matplotlib.figure import Figure

    # A bare Figure draws with Agg and does not touch pyplot's global state and backends.
    figure = Figure(dpi=120, layout="constrained")
    draw(figure, lines)
    return figure


def _panels(figure: Figure) -> Iterator[tuple[Positive, Axes]]:
    """Yield two panels side by side: positive = blurred, positive = in focus."""
    figure.set_size_inches(10, 4.8)
    axes = figure.subplots(1, 2)
    for (positive, label), panel in zip(SIDES, axes, strict=True):
        panel.set_title(f"positive = {label}")
        yield positive, panel


def _draw_pr(figure: Figure, lines: Sequence[_Line]) -> None:
    for positive, axes in _panels(figure):
        for line in lines:
            precision, recall = line.curves.pr[positive]
            found = recall > 0  # the precision of an empty detection is 0 by definition, not by measurement
            # The dot at the strictest threshold shows a constant map, whose curve is a single point.
            dot = {"marker": "o", "markevery": [0], "markersize": 5, "clip_on": False, "zorder": 3}
            axes.plot(recall[found], precision[found], label=line.name, **(line.style | dot))
        _finish(axes, "recall", "precision")


def _draw_roc(figure: Figure, lines: Sequence[_Line]) -> None:
    figure.set_size_inches(5.6, 5.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    for line in lines:
        found = line.curves.roc
        area = float(np.trapezoid(found, ROC_RATES))
        axes.plot(ROC_RATES, found, label=f"{line.name} ({area:.3f})", **line.style)
    _finish(axes, "false positive rate", "true positive rate (positive = blurred)")


def _draw_f(figure: Figure, lines: Sequence[_Line]) -> None:
    thresholds = np.arange(BINS)[::-1] / (BINS - 1)
    for positive, axes in _panels(figure):
        for line in lines:
            f = f_measure(*line.curves.pr[positive])
            axes.plot(thresholds, f, label=f"{line.name} ({f.max():.3f})", **line.style)
        symbol = "P" if positive == "blurred" else "1 - P"
        _finish(axes, f"threshold on {symbol}", "F (beta² = 0.3)")


def _finish(axes: Axes, across: str, up: str) -> None:
    axes.set(xlabel=across, ylabel=up, xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(loc="lower center" if "threshold" in across else "lower right", fontsize="small")


def _save(figure: Figure, path: Path) -> Path:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format="png")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
