"""Accuracy of the classical detectors and of the networks.

    python -m benchmarks.measure.accuracy [--only NAME ...] [--sets NAME ...]

Writes results/accuracy.json (metrics) and results/curves.json (PR, F and ROC on the test images). Rows that
are not measured in a run stay unchanged. The data folder is given by the variable BR2FOCUS_SHARED, or
``shared`` next to the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from benchmarks.measure.datasets import SETS, DataSet
from benchmarks.paths import RESULTS
from br2focus.models.checkpoint import shipped
from br2focus.models.evaluation.classical import CLASSICAL
from br2focus.models.evaluation.curves import curves_of
from br2focus.models.evaluation.run import Evaluation, Predictor, Report, evaluate, table
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings

FIGURES, CURVES = RESULTS / "accuracy.json", RESULTS / "curves.json"


def _network(model: str) -> Predictor:
    engine = Engine(EngineSettings(model=model, device="cpu"))
    return lambda image: engine(image).values


# Name of a row -> a function that creates its predictor.
PREDICTORS: dict[str, Callable[[], Predictor]] = {
    f"classical:{name}": lambda detector=detector: detector  # type: ignore[misc]
    for name, detector in CLASSICAL.items()
}
PREDICTORS |= {name: lambda name=name: _network(name) for name in shipped()}  # type: ignore[misc]


def rows_of(data_set: str) -> list[str]:
    """Return a set's rows: everything for the test images, elsewhere the networks and the trivial answer."""
    return [
        name
        for name in PREDICTORS
        if data_set == "cuhk" or name in shipped() or name == "classical:all_blurred"
    ]


def measure(name: str, data: DataSet) -> tuple[Report, Evaluation]:
    """Measure one row of a table; the classical methods run on one thread."""
    device = "1 CPU thread" if name.startswith("classical:") else f"{os.cpu_count()} CPU threads"
    evaluation = evaluate(PREDICTORS[name](), data.folder, progress=_progress)
    report = evaluation.report(name, device)
    rounded = {k: None if v is None else round(v, 4) for k, v in report["metrics"].items()}
    ms = round(report["ms_per_image"], 1)
    return report | {"ms_per_image": ms, "metrics": rounded}, evaluation


def _progress(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _write(path: Path, content: dict[str, Any], indent: int | None) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=indent) + "\n")
    part.replace(path)


def main() -> None:
    """Measure, print each row, and write the files after each."""
    parser = argparse.ArgumentParser(description="Measure accuracy, write accuracy.json and curves.json.")
    parser.add_argument("--only", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures, curves = _read(FIGURES), _read(CURVES)
    for key in options.sets:
        data = SETS[key]()
        models = figures.setdefault(key, {"models": {}})["models"]
        figures[key]["data"] = data.title
        for name in (row for row in rows_of(key) if row in options.only):
            models[name], evaluation = measure(name, data)
            print(f"{key}: {data.title}\n{table(models[name])}\n", flush=True)
            if key == "cuhk":
                curves[name] = curves_of(evaluation).rounded()
            _write(FIGURES, figures, 2)
            _write(CURVES, curves, None)


if __name__ == "__main__":
    main()
