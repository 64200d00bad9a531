"""Metrics of ``br2focus evaluate`` on real footage: labelled points and focal stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from br2focus.models.evaluation.masks import UnreadableError
from br2focus.models.evaluation.points import PointFrame, disc_mean, judge_points, read_points
from br2focus.models.evaluation.stacks import contrast, judge_stack
from br2focus.models.sizes import regions
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Image, Roi
from br2focus.realtime.sources.images import media_kind, read_image
from br2focus.realtime.sources.video_file import VideoFile

Progress = Callable[[int, int], None]
NEAR = 2e-3  # seconds that a listed time may differ from the frame's


def evaluate_points(
    predict: Callable[[Image], np.ndarray],
    points: Path,
    pairs: Path | None,
    root: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Return the metrics of `judge_points`; every frame is predicted independently.

    Args:
        predict: uint8 BGR -> P(blurred), float32 of any size.
        points, pairs: the lists.
        root: folder that their sources are relative to.

    Raises:
        UnreadableError: a list is damaged, or a listed frame is not in its source.
        SourceError: a source cannot be read.
        OSError: a list is missing.
    """
    frames = read_points(points, pairs)
    values: dict[str, list[float]] = {}
    for name, image in _pictures(frames, root):
        frame = frames[name]
        if (image.shape[1], image.shape[0]) != frame.size:
            raise UnreadableError(
                f"{points}: {name} has points for {frame.size[0]}x{frame.size[1]}, its picture is "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        blur = predict(image)
        values[name] = [disc_mean(blur, point, frame.size) for point in frame.points]
        progress(len(values), len(frames))
    return judge_points(frames, values)


def _pictures(frames: dict[str, PointFrame], root: Path) -> Iterator[tuple[str, Image]]:
    """Yield every listed frame. A clip is decoded once from its start: a seek can change the pixels."""
    for source in dict.fromkeys(frame.source for frame in frames.values()):
        wanted = {name: f for name, f in frames.items() if f.source == source}
        if next(iter(wanted.values())).still:
            picture = read_image(root / source)
            yield from ((name, picture) for name in wanted)
            continue
        with VideoFile(root / source) as video:
            for frame in video:
                second = float(frame.seconds)
                for name in [n for n, f in wanted.items() if abs(f.second - second) < NEAR]:
                    del wanted[name]
                    yield name, frame.image
                if not wanted:
                    break
        if wanted:
            name, lost = next(iter(wanted.items()))
            raise UnreadableError(f"{root / source}: no frame at {lost.second} s ({name})")


def evaluate_stack(engine: Engine, folder: Path, progress: Progress) -> dict[str, Any]:
    """Return the metrics of `judge_stack`, with the slice of highest full-size contrast as ground truth.

    Raises:
        UnreadableError: there are fewer than two slices, or they differ in size.
        SourceError: a slice cannot be read.
        OSError: the folder is missing.
    """
    slices = sorted(path for path in folder.iterdir() if path.is_file() and _is_image(path))
    if len(slices) < 2:
        raise UnreadableError(f"{folder}: a stack has two slices at least, here are {len(slices)}")
    scores, contrasts, size = [], [], None
    for done, path in enumerate(slices, start=1):
        image = read_image(path)
        if size is not None and image.shape != size:
            raise UnreadableError(f"{path}: another size than the slices before it")
        size = image.shape
        scores.append(region_scores(engine, image))
        contrasts.append(contrast(image))
        progress(done, len(slices))
    truth = np.asarray(contrasts).argmax(0).tolist()
    return judge_stack(scores, truth) | {"contrast_best": truth}


def region_scores(engine: Engine, image: Image) -> list[float]:
    """Return `BlurMap.score` for every region of a slice."""
    height, width = image.shape[:2]
    blur = engine.start(image)().at((width, height))
    return [blur.score(Roi("region", *box)) for box in regions(width, height)]


def _is_image(path: Path) -> bool:
    try:
        return media_kind(path) == "image"
    except SourceError:
        return False


def footage_table(report: dict[str, Any]) -> str:
    """Format the report as two aligned columns for a terminal."""
    rows = []
    for name, value in report.items():
        if name in ("reliability", "best", "contrast_best"):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, float):
            value = f"{value:.4f}"
        rows.append((name, "-" if value is None else str(value)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
