"""Plots of training runs: loss and validation metrics over the iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .run import Event

Values = NDArray[np.float64]
SMOOTHING = 0.02  # share of the run that the moving mean of the loss covers
FIGURES = {"mae": "validation MAE", "auc": "validation AUC"}


def plot_losses(logs: Mapping[str, Sequence[Event]], path: Path) -> None:
    """Write the curves of ``logs`` as a picture; it gets its final name only when it is complete.

    Args:
        logs: name of each run -> its events, as `br2focus.models.training.run.read_log` gives them.
        path: the picture; its suffix chooses the format, such as ``.png`` or ``.svg``.

    Raises:
        ValueError: no run has an event, or the suffix names no known format.
    """
    if not any(logs.values()):
        raise ValueError("no training event to plot: the log is empty")
    figure = _draw(logs)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format=path.suffix.lstrip(".") or "png", dpi=120)
    partial.replace(path)


def smooth(values: Values, window: int) -> Values:
    """Return the centred moving mean over ``window`` values; at both ends, the window is shorter."""
    kernel = np.ones(min(window, len(values)))
    weights = np.convolve(np.ones_like(values), kernel, "same")
    return np.asarray(np.convolve(values, kernel, "same") / weights, np.float64)


def _draw(logs: Mapping[str, Sequence[Event]]) -> Figure:
    # Without pyplot, there is no global state and no window system. A new figure has the Agg canvas.
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, *figures = figure.subplots(1 + len(FIGURES), 1, sharex=True, height_ratios=(3, 2, 2))
    for index, (name, events) in enumerate(logs.items()):
        if events:
            _draw_loss(loss, name, events, f"C{index}")
            for axes, key in zip(figures, FIGURES, strict=True):
                _draw_validation(axes, name, key, events, f"C{index}")
    loss.set_yscale("log")
    for axis_format in (loss.yaxis.set_major_formatter, loss.yaxis.set_minor_formatter):
        axis_format(ScalarFormatter())
    for axes, label in zip((loss, *figures), ("training loss", *FIGURES.values()), strict=True):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figures[-1].set_xlabel("iteration")
    return figure


def _draw_loss(axes: Axes, name: str, events: Sequence[Event], colour: str) -> None:
    x = np.array([event["iteration"] for event in events])
    y = np.array([event["loss"] for event in events], np.float64)
    axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.6)
    axes.plot(x, smooth(y, max(1, round(SMOOTHING * len(y)))), color=colour, label=name)


def _draw_validation(axes: Axes, name: str, key: str, events: Sequence[Event], colour: str) -> None:
    points = [(e["iteration"], e.get("validation", {}).get(key)) for e in events]
    known = [(iteration, value) for iteration, value in points if value is not None]
    if known:
        x, y = zip(*known, strict=True)
        axes.plot(x, y, color=colour, marker="o", markersize=4, label=f"{name} {y[-1]:.3f}")
