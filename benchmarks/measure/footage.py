"""How good maps are on real footage and on focal stacks.

    python -m benchmarks.measure.footage [--only NAME ...]

Writes results/footage.json: labelled points of four real clips, and rendered focal stacks whose planes are
known. The folder with the clips is given by the variable BR2FOCUS_SHARED, or ``shared`` next to the
repository.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import cv2

from benchmarks.paths import RESULTS, SHARED
from br2focus.models.checkpoint import shipped
from br2focus.models.evaluation.stacks import contrast, judge_stack
from br2focus.models.rendering.stack import Stack, render_stack
from br2focus.plugins.cli.footage import evaluate_points, region_scores
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings

FILE = RESULTS / "footage.json"
SEEDS, STEPS = (101, 102, 103), (1.0, 1.5, 2.5)  # stacks, and pixels of blur from slice to slice
DIGITS = 4


def points(engine: Engine) -> dict[str, Any]:
    """Return the metrics at the labelled points, with maps refined as in `annotate`."""
    video = SHARED / "video"
    found = evaluate_points(
        lambda image: refine(image, engine.start(image)(), "best").values,
        video / "focus_points.csv",
        video / "focus_pairs.csv",
        video,
        _progress,
    )
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def stacks(engine: Engine, made: list[Stack]) -> dict[str, Any]:
    """Return means over the stacks; ``contrast_*`` is what gradients at full size give."""
    ours = [
        judge_stack([region_scores(engine, picture) for picture in stack.slices], stack.best)
        for stack in made
    ]
    theirs = [judge_stack([contrast(p) for p in stack.slices], stack.best) for stack in made]
    names = ("exact", "within_1", "plateau")
    figures = {name: sum(each[name] for each in ours) / len(ours) for name in names}
    of_contrast = {f"contrast_{n}": sum(each[n] for each in theirs) / len(theirs) for n in names}
    rounded: dict[str, Any] = _rounded(figures | of_contrast)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _progress(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main() -> None:
    """Measure each model and write its row."""
    parser = argparse.ArgumentParser(description="Measure maps on footage, write footage.json.")
    parser.add_argument("--only", nargs="+", help="names of shipped models, or files")
    names = parser.parse_args().only or list(shipped())
    cv2.setNumThreads(1)
    made = [render_stack(seed, step=step) for seed, step in zip(SEEDS, STEPS, strict=True)]
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in names:
        engine = Engine(EngineSettings(model=name, device="cpu"))
        row = {"points": points(engine), "stacks": stacks(engine, made)}
        print(name, json.dumps(row), flush=True)
        if name in shipped():
            content[name] = row
    FILE.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
