"""Temporal smoothing: raw maps and every way to smooth, on clips whose every mask is known.

    python -m benchmarks.measure.smoothing [--model NAME] [--part clips flicker real]

* rendered clips (`evaluation_clips`, seeds only): mean absolute error against the true mask of every frame,
  warp error, and how much later the maps are than the raw ones, in milliseconds;
* stills from these clips, with independent sensor noise (sigma 3) and shifts of half a pixel: flicker;
* the clips in the data folder (BR2FOCUS_SHARED), if there is one: warp error, and flicker of their middle.

Writes smoothing.json into benchmarks/results; tables.py puts it into docs/smoothing.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.paths import RESULTS, SHARED
from br2focus.models.evaluation.temporal import (
    flicker,
    jittered,
    lag_frames,
    mae_over_time,
    warp_errors,
)
from br2focus.models.rendering.clips import RackFocusClip, evaluation_clips
from br2focus.realtime.engine.backends.openvino import cpu_name
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.smoothing.factory import SmoothingSetting, make_smoother
from br2focus.realtime.sources.video_file import VideoFile

OUT = RESULTS / "smoothing.json"
RATE = Fraction(30)
KINDS: dict[str, SmoothingSetting] = {
    "raw": None,
    "fixed 0.1 s": 0.1,
    "adaptive": "adaptive",
    "look-ahead": "look-ahead",
}
# Clips whose lag is measured.
PULLS = (
    "slow pull",
    "fast pull",
    "moving subject",
    "hand-held",
    "pan",
    "three layers",
)
STILLS = (
    ("slow pull", 20),
    ("slow pull", 60),
    ("three layers", 55),
    ("pull and back", 40),
    ("pan", 5),
)
REPEATS, SETTLED = 45, 15  # pictures of a still, and how many are not counted
REAL_FRAMES = 120


def smoothed(
    images: Iterable[np.ndarray],
    maps: Iterable[np.ndarray],
    setting: SmoothingSetting,
    rate: Fraction = RATE,
) -> np.ndarray:
    """Return the maps as they would be shown, without refining: T x H x W."""
    smoother, shown, size = make_smoother(setting), [], (0, 0)
    for index, (image, values) in enumerate(zip(images, maps, strict=True)):
        blur, size = BlurMap(np.array(values)), (image.shape[1], image.shape[0])
        if smoother is None:
            shown.append(blur)
        else:
            ready = smoother.add(Frame(image, index, index, 1 / rate, 0.0), blur)
            shown += [each.shown for each in ready]
    shown += [each.shown for each in smoother.flush()] if smoother is not None else []
    return np.array([blur.at(size).values.astype(np.float16) for blur in shown])


def maps_of(engine: Engine, images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Return the raw map of every picture at its own size, as the pipeline smooths it."""
    return [engine.start(np.ascontiguousarray(image))().values for image in images]


def clip_rows(engine: Engine) -> list[dict[str, Any]]:
    """Return one row per rendered clip."""
    rows = []
    for name, spec in evaluation_clips().items():
        frames = list(RackFocusClip(replace(spec, rate=RATE)))
        images, labels = np.array([f.image for f in frames]), np.array([f.label for f in frames])
        raw = maps_of(engine, images)
        row: dict[str, Any] = {"clip": name}
        shown = {kind: smoothed(images, raw, setting) for kind, setting in KINDS.items()}
        for kind, maps in shown.items():
            row[f"mae {kind}"] = round(mae_over_time(maps, labels), 4)
        for kind, error in zip(shown, warp_errors(list(shown.values()), images), strict=True):
            row[f"warp {kind}"] = round(1e3 * error, 3)
        raw_lag = lag_frames(shown["raw"], labels) if name in PULLS else 0.0
        for kind in list(KINDS)[1:]:
            late = lag_frames(shown[kind], labels) - raw_lag if name in PULLS else None
            row[f"lag {kind}"] = None if late is None else round(1e3 * late / float(RATE))
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def flicker_rows(engine: Engine) -> list[dict[str, Any]]:
    """Return one row per still, and their sums."""
    rows = []
    for name, index in STILLS:
        still = RackFocusClip(replace(evaluation_clips()[name], rate=RATE)).frame(index).image
        row: dict[str, Any] = {"still": f"{name}, frame {index}"}
        for kind, (spread, crossing) in _flicker(engine, still).items():
            row |= {kind: spread, f"over .5 {kind}": crossing}
        rows.append(row)
        print(json.dumps(row), flush=True)
    total: dict[str, Any] = {"still": "all"}
    return [*rows, total | {k: round(sum(r[k] for r in rows), 3) for k in rows[0] if k != "still"}]


def _flicker(engine: Engine, still: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return spread over time and share that crosses .5, both x 1000, for every way to smooth."""
    images = jittered(still, REPEATS, sigma=3.0, shift=0.5)
    raw, found = maps_of(engine, images), {}
    for kind, setting in KINDS.items():
        spread, crossing = flicker(smoothed(images, raw, setting)[SETTLED:].astype(np.float32))
        found[kind] = round(1e3 * spread, 3), round(1e3 * crossing, 3)
    return found


def real_rows(engine: Engine) -> list[dict[str, Any]]:
    """Return one row per clip in the data folder."""
    rows = []
    for path in sorted((SHARED / "video").glob("*.mp4")):
        with VideoFile(path) as source:
            images = np.array([frame.image for frame in islice(source, REAL_FRAMES)])
            rate = source.info.rate or RATE
        raw = maps_of(engine, images)
        row: dict[str, Any] = {"clip": path.stem}
        shown = [smoothed(images, raw, setting, rate) for setting in KINDS.values()]
        for kind, error in zip(KINDS, warp_errors(shown, images), strict=True):
            row[f"warp {kind}"] = round(1e3 * error, 3)
        spreads = _flicker(engine, images[len(images) // 2])
        row |= {f"flicker {kind}": spread for kind, (spread, _) in spreads.items()}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


PARTS = {"clips": clip_rows, "flicker": flicker_rows, "real": real_rows}


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lite")
    parser.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS), help="default: all")
    options = parser.parse_args()
    engine = Engine(EngineSettings(model=options.model, device="cpu"))
    machine = f"{engine.info.name}, {os.cpu_count()} cores, {cpu_name()}"
    content = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in options.part:
        content[name] = {"machine": machine, "rows": PARTS[name](engine)}
    OUT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
