"""Evaluation of maps on labelled points of real footage, where nobody can draw a whole mask.

A file of points has the columns ``frame_id, source, second, width, height, x, y, radius, label, texture`` and
``note``: a disc in pixels of the frame, and a label F (in the plane of focus), S (slightly soft), B (clearly
out of focus) or M (moving). A file of pairs has ``frame_id, sharper_index, softer_index``: two points of a
frame, of which the first is sharper.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from br2focus.models.paths import AnyPath

from .masks import UnreadableError

LABELS = ("F", "S", "B", "M")
THIN = 8  # a point with a smaller radius lies on something thin
POINT_COLUMNS = (
    "frame_id",
    "source",
    "second",
    "width",
    "height",
    "x",
    "y",
    "radius",
    "label",
    "texture",
    "note",
)
PAIR_COLUMNS = ("frame_id", "sharper_index", "softer_index")
STILL = (".jpg", ".jpeg", ".png")

Values = NDArray[np.float32]


class Point(NamedTuple):
    """A disc in pixels of its frame, and what a person said about it."""

    x: int
    y: int
    radius: int
    label: str
    textured: bool
    note: str

    @property
    def thin(self) -> bool:
        """Whether it lies on something thin."""
        return "thin" in self.note or self.radius < THIN


@dataclass
class PointFrame:
    """One frame of the footage.

    Attributes:
        source: its file, relative to the folder that is given with the list.
        second: its time; not used for a still.
        size: width and height that the points refer to.
        points: as listed.
        pairs: indices of two points, the sharper one first.
    """

    source: str
    second: float
    size: tuple[int, int]
    points: list[Point] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def still(self) -> bool:
        """Whether the source is a photograph."""
        return self.source.lower().endswith(STILL)


def read_points(points: AnyPath, pairs: AnyPath | None = None) -> dict[str, PointFrame]:
    """Read the frames of a list, by their id.

    Raises:
        OSError: a file cannot be read.
        UnreadableError: a column is missing, a value is not a number, or a pair names a missing frame or
            point.
    """
    frames: dict[str, PointFrame] = {}
    for line, row in _rows(Path(points), POINT_COLUMNS):
        try:
            size = int(row["width"]), int(row["height"])
            frame = frames.setdefault(
                row["frame_id"], PointFrame(row["source"], float(row["second"] or 0), size)
            )
            place = int(row["x"]), int(row["y"]), int(row["radius"])
            if row["label"] not in LABELS:
                raise ValueError(f"label {row['label']!r} is none of {', '.join(LABELS)}")
            frame.points.append(Point(*place, row["label"], row["texture"] != "0", row["note"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableError(f"{points}, line {line}: {error}") from error
    for line, row in _rows(Path(pairs), PAIR_COLUMNS) if pairs else ():
        try:
            frame = frames[row["frame_id"]]
            pair = int(row["sharper_index"]), int(row["softer_index"])
            if not 0 <= min(pair) <= max(pair) < len(frame.points):
                raise ValueError(f"{row['frame_id']} has {len(frame.points)} points")
            frame.pairs.append(pair)
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableError(f"{pairs}, line {line}: {error}") from error
    if not frames:
        raise UnreadableError(f"{points}: no point in it")
    return frames


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise UnreadableError(f"{path}: no column {missing[0]!r}; it needs {', '.join(columns)}")
            return list(enumerate(reader, start=2))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path}: not a CSV file ({error})") from error


def disc_mean(blur: Values, point: Point, size: tuple[int, int]) -> float:
    """Return the mean of ``blur`` (any size) in the disc of ``point``, which is in pixels of ``size``."""
    across, down = blur.shape[1] / size[0], blur.shape[0] / size[1]
    radius = max(1.0, point.radius * across)
    x, y = (point.x + 0.5) * across - 0.5, (point.y + 0.5) * down - 0.5
    left, top = max(0, int(x - radius)), max(0, int(y - radius))
    part = blur[top : int(y + radius) + 2, left : int(x + radius) + 2]
    rows, columns = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2 + 0.25
    return float(part[inside].mean())


def judge_points(frames: Mapping[str, PointFrame], values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the metrics of P at the points.

    Args:
        frames: the points.
        values: mean P at each point of each frame.

    Returns:
        ``points_auc`` (B above F); ``focus_found`` (share of F with P under .5); ``blur_found`` (share of B
        with P from .5 on); ``balanced`` (mean of these two); ``thin_found`` (as ``focus_found``, on thin
        things); ``pairs`` (the softer point has the larger P; ties count half); ``count`` (numbers of
        points); ``reliability`` (see `reliability`, for ten ranges of P). A value is None if there is no such
        point.
    """
    labelled = [
        (p, point)
        for name, frame in frames.items()
        for p, point in zip(values[name], frame.points, strict=True)
    ]
    sharp = np.array([p for p, point in labelled if point.label == "F"])
    soft = np.array([p for p, point in labelled if point.label == "B"])
    thin = np.array([p for p, point in labelled if point.label == "F" and point.thin])
    ordered = [
        float(values[name][softer] > values[name][sharper])
        + 0.5 * float(values[name][softer] == values[name][sharper])
        for name, frame in frames.items()
        for sharper, softer in frame.pairs
    ]
    found = _mean(sharp < 0.5), _mean(soft >= 0.5)
    return {
        "points_auc": _ranked(sharp, soft),
        "balanced": None if None in found else (found[0] + found[1]) / 2,  # type: ignore[operator]
        "focus_found": found[0],
        "blur_found": found[1],
        "thin_found": _mean(thin < 0.5),
        "pairs": _mean(np.array(ordered)),
        "count": {
            "frames": len(frames),
            "F": len(sharp),
            "B": len(soft),
            "thin": len(thin),
            "pairs": len(ordered),
        },
        "reliability": reliability(sharp, soft),
    }


def reliability(sharp: Values, soft: Values, bins: int = 10) -> list[dict[str, float]]:
    """Return, for each range of P that has points: their number, mean P, and the share that is blurred."""
    p = np.concatenate([sharp, soft])
    blurred = np.concatenate([np.zeros(len(sharp)), np.ones(len(soft))])
    place = np.minimum((p * bins).astype(int), bins - 1)
    return [
        {
            "points": int((place == b).sum()),
            "mean_p": float(p[place == b].mean()),
            "blurred": float(blurred[place == b].mean()),
        }
        for b in range(bins)
        if (place == b).any()
    ]


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _ranked(sharp: Values, soft: Values) -> float | None:
    """Return the chance that a value of ``soft`` is above one of ``sharp``; ties count half."""
    if not len(sharp) or not len(soft):
        return None
    low, high = sharp[:, None], soft[None]
    return float(((high > low) + 0.5 * (high == low)).mean())
