"""What moving the map's edges to those of the picture gains on CUHK's test images, and what it costs.

    python -m benchmarks.measure.refining [--model NAME]

Every mode gets the same raw maps in the same run. Times are medians per image, the share is relative to the
network's time. Writes results/refining.json. The data folder is given by the variable BR2FOCUS_SHARED, or
``shared`` next to the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

from benchmarks.paths import RESULTS, SHARED
from br2focus.models.evaluation.masks import MaskedFolder
from br2focus.models.evaluation.metrics import ImageScore, measure, summarise
from br2focus.realtime.drawing.refining import MODES, refine
from br2focus.realtime.engine.backends.openvino import cpu_name
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings

CUHK = SHARED / "data" / "cuhk"
FIGURES = ("mae", "auc", "f50_blur", "boundary_f")


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lite")
    engine = Engine(EngineSettings(model=parser.parse_args().model, device="cpu"))
    names = CUHK / "dbd_test_xu100.txt"
    folder = MaskedFolder(CUHK / "images", CUHK / "masks", "blurred", None, names)
    scores: dict[str, list[ImageScore]] = {mode: [] for mode in MODES}
    spent: dict[str, list[float]] = {mode: [] for mode in ("network", *MODES)}
    for pair in folder.pairs():
        sample = folder.read(pair)
        image = sample.image
        engine(image)  # compiles for a new size
        begun = time.perf_counter()
        blur = engine.start(image)()
        spent["network"].append(time.perf_counter() - begun)
        for mode in MODES:
            begun = time.perf_counter()
            refined = refine(image, blur, mode)
            spent[mode].append(time.perf_counter() - begun)
            scores[mode].append(measure(refined.values, sample.mask, sample.valid))
    network = statistics.median(spent["network"])
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        figures = summarise(scores[mode])
        seconds = statistics.median(spent[mode])
        row: dict[str, Any] = {"refine": mode} | {k: round(figures[k] or 0, 4) for k in FIGURES}
        rows.append(row | {"ms": round(1e3 * seconds, 2), "of the network": f"{seconds / network:.0%}"})
        print(json.dumps(rows[-1]))
    machine = f"{engine.info.name}, {os.cpu_count()} cores, {cpu_name()}"
    (RESULTS / "refining.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
