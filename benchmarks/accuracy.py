"""Accuracy of the classical detectors and of the networks on CUHK's 100 test images.

    python benchmarks/accuracy.py [--only NAME ...]

Writes accuracy.json beside this file. The data folder is the variable BR2FOCUS_SHARED, or
``shared`` beside the repository. Rows that are not measured in a run stay in the file as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from br2focus.models.checkpoint import shipped
from br2focus.models.evaluation.classical import CLASSICAL
from br2focus.models.evaluation.masks import MaskedFolder
from br2focus.models.evaluation.run import Predictor, Report, evaluate, table
from br2focus.realtime.engine import Engine, EngineSettings

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("BR2FOCUS_SHARED", HERE.parents[1] / "shared"))
OUT = HERE / "accuracy.json"
DATA_SET = "CUHK, 100 test images at their own size"


def _network(model: str) -> Predictor:
    engine = Engine(EngineSettings(model=model, device="cpu"))
    return lambda image: engine(image).values


# The name of a row -> a function that makes its predictor. Networks are added here.
PREDICTORS: dict[str, Callable[[], Predictor]] = {
    f"classical:{name}": lambda detector=detector: detector  # type: ignore[misc]
    for name, detector in CLASSICAL.items()
}
PREDICTORS |= {name: lambda name=name: _network(name) for name in shipped()}  # type: ignore[misc]


def measure(name: str) -> Report:
    """One row of the table; the classical methods run on one thread."""
    cuhk = SHARED / "data" / "cuhk"
    names = cuhk / "dbd_test_xu100.txt"
    folder = MaskedFolder(cuhk / "images", cuhk / "masks", "blurred", names=names)
    device = "1 CPU thread" if name.startswith("classical:") else f"{os.cpu_count()} CPU threads"
    report = evaluate(PREDICTORS[name](), folder, progress=_progress).report(name, device)
    rounded = {k: None if v is None else round(v, 4) for k, v in report["metrics"].items()}
    return report | {"ms_per_image": round(report["ms_per_image"], 1), "metrics": rounded}


def _progress(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print each row, and write the file after each."""
    parser = argparse.ArgumentParser(description="Measure accuracy and write accuracy.json.")
    parser.add_argument("--only", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    only = parser.parse_args().only
    cv2.setNumThreads(1)
    written = json.loads(OUT.read_text())["models"] if OUT.exists() else {}
    for name in only:
        written[name] = measure(name)
        print(table(written[name]), end="\n\n", flush=True)
        part = OUT.with_suffix(".part")
        part.write_text(json.dumps({"data": DATA_SET, "models": written}, indent=2) + "\n")
        part.replace(OUT)


if __name__ == "__main__":
    main()
