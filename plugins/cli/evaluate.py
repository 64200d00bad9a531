"""``br2focus evaluate``: measures accuracy on masks, labelled points or a focal stack."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from br2focus.models.evaluation.classical import CLASSICAL
from br2focus.models.evaluation.masks import (
    Folder,
    FolderError,
    MaskedFolder,
    UniformFolder,
    UnreadableError,
)
from br2focus.models.evaluation.run import Evaluation, evaluate, table
from br2focus.realtime.drawing.refining import RefineMode
from br2focus.realtime.drawing.refining import refine as refined
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.errors import SettingsError, SinkError, SourceError

from .exits import report_options, say
from .footage import evaluate_points, evaluate_stack, footage_table
from .options import engine_options, refine_option
from .progress import Progress

CLASSICAL_PREFIX = "classical:"
Predict = Callable[[np.ndarray], np.ndarray]


@click.command(
    "evaluate",
    epilog="Example: br2focus evaluate --images test/images --masks test/masks --polarity blurred",
)
@click.option("--images", type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of masks.")
@click.option("--polarity", type=click.Choice(["blurred", "focused"]), help="Meaning of white in the masks.")
@click.option(
    "--everywhere",
    type=click.Choice(["sharp", "blurred"]),
    help="Instead of masks: every image is entirely sharp or blurred; the metric is then false_alarm.",
)
@click.option("--ignore", type=click.IntRange(0, 255), help="Gray value of unlabelled pixels.")
@click.option(
    "--list",
    "names",
    type=click.Path(path_type=Path),
    help="File with the names to use, one per line.",
)
@click.option("--curves", type=click.Path(path_type=Path), help="Folder for PR, ROC and F curves (PNG).")
@click.option(
    "--points",
    type=click.Path(path_type=Path),
    help="CSV of labelled points in clips or photographs, instead of --images.",
)
@click.option("--pairs", type=click.Path(path_type=Path), help="CSV of ordered pairs of points.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of the sources of --points; default: the folder of that CSV.",
)
@click.option(
    "--stack",
    type=click.Path(path_type=Path),
    help="Folder with the slices of a focal stack, ordered by name, instead of --images.",
)
@refine_option("off")
@engine_options
@report_options
def command(
    images: Path | None,
    masks: Path | None,
    polarity: str | None,
    everywhere: str | None,
    ignore: int | None,
    names: Path | None,
    curves: Path | None,
    points: Path | None,
    pairs: Path | None,
    root: Path | None,
    stack: Path | None,
    refine: RefineMode,
    as_json: bool,
    debug: bool,
    **engine: Any,
) -> None:
    """Measure the accuracy of a model on images with masks, on labelled points, or on a focal stack.

    Masks: compares P(blurred) with each mask at the mask's own size. Points: P at points that a person
    labelled F (in focus), S (slightly soft), B (blurred) or M (moving). Stack: the slice in which each of 48
    regions is sharpest, compared with the one of highest full-size contrast. --model also accepts
    classical:NAME, a method without learning, for masks or points.
    """
    if sum(each is not None for each in (images, points, stack)) != 1:
        raise SettingsError("give one of --images, --points and --stack")
    if (pairs or root) and points is None:
        raise SettingsError("--pairs and --root go with --points")
    if points or stack:
        if masks or polarity or everywhere or names or curves or ignore is not None:
            raise SettingsError("--masks and what belongs to it go with --images")
        computed = _footage(points, pairs, root, stack, EngineSettings(**engine), refine)
        click.echo(json.dumps(computed) if as_json else footage_table(computed))
        return
    assert images is not None
    try:
        folder = _folder(images, masks, polarity, everywhere, ignore, names, curves)
        folder.pairs()
        predict, name, computes = _predictor(EngineSettings(**engine), refine)
        with Progress("evaluate", "image") as progress:
            result = evaluate(predict, folder, progress=progress)
    except (FolderError, UnreadableError) as error:
        raise SourceError(str(error)) from error
    for notice in computes.notices if computes else ():
        say(notice)
    report = result.report(name, computes.device if computes else "cpu")
    click.echo(json.dumps(report) if as_json else table(report))
    if curves is not None:
        _plot(name, result, curves)


def _footage(
    points: Path | None,
    pairs: Path | None,
    root: Path | None,
    stack: Path | None,
    settings: EngineSettings,
    refine: RefineMode,
) -> dict[str, Any]:
    """Return the report on points or a stack."""
    try:
        predict, name, computes = _predictor(settings, refine)
        with Progress("evaluate", "frame") as progress:
            if points is not None:
                report = evaluate_points(predict, points, pairs, root or points.parent, progress)
            else:
                assert stack is not None
                if computes is None:
                    raise SettingsError(
                        "--stack needs a network: the report compares it with contrast anyway"
                    )
                name = computes.info.name  # scores use unrefined maps
                report = evaluate_stack(computes, stack, progress)
    except UnreadableError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{error.filename or points or stack}: {error.strerror or error}") from error
    for notice in computes.notices if computes else ():
        say(notice)
    return {"model": name, "device": computes.device if computes else "cpu"} | report


def _folder(
    images: Path,
    masks: Path | None,
    polarity: str | None,
    everywhere: str | None,
    ignore: int | None,
    names: Path | None,
    curves: Path | None,
) -> Folder:
    if everywhere and (masks or polarity or ignore is not None):
        raise SettingsError("--everywhere stands instead of --masks, --polarity and --ignore")
    if everywhere and curves:
        raise SettingsError("--curves needs images with both blurred and sharp pixels, not --everywhere")
    if everywhere:
        return UniformFolder(images, everywhere == "blurred", names)
    if masks is None or polarity is None:
        raise SettingsError("give --masks and --polarity, or --everywhere sharp (or blurred)")
    return MaskedFolder(images, masks, polarity, ignore, names)  # type: ignore[arg-type]


def _predictor(settings: EngineSettings, mode: RefineMode) -> tuple[Predict, str, Engine | None]:
    """Return the function that computes the maps, its name, and the engine (None for a classical method)."""
    model = os.fspath(settings.model)
    if model.startswith(CLASSICAL_PREFIX):
        method = model.removeprefix(CLASSICAL_PREFIX)
        if method not in CLASSICAL:
            known = ", ".join(CLASSICAL_PREFIX + name for name in CLASSICAL)
            raise SettingsError(f"no model {model!r}: the classical ones are {known}")
        return CLASSICAL[method], model, None
    engine = Engine(settings)
    name = engine.info.name if mode == "off" else f"{engine.info.name} + {mode} refining"
    return lambda image: refined(image, engine.start(image)(), mode).values, name, engine


def _plot(name: str, result: Evaluation, folder: Path) -> None:
    from br2focus.models.evaluation.curves import curves_of, plot_curves

    try:
        plot_curves({name: curves_of(result)}, folder)
    except ValueError as error:
        raise SettingsError(f"--curves: {error}") from error
    except OSError as error:
        raise SinkError(f"{folder}: {error.strerror or error}") from error
