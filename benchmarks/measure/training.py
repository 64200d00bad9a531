"""How long a training step takes, and whether one worker makes crops fast enough for it.

    python -m benchmarks.measure.training [CONFIG ...]

Writes results/training.json. The data folder is given by the variable BR2FOCUS_SHARED, or ``shared`` next to
the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paths import CONFIGS, RESULTS, SHARED
from br2focus.models.training.augment import augment, develop
from br2focus.models.training.config import TrainingConfig, read_config
from br2focus.models.training.data import batches, labelled
from br2focus.models.training.run import Trainer
from br2focus.realtime.engine.backends.openvino import cpu_name

CROPS, STEPS = 60, 12


def from_nothing(config: TrainingConfig) -> TrainingConfig:
    """Return a configuration with the same work per step, without files of an earlier stage."""
    extra = tuple(replace(e, agree=None) for e in config.extra)
    return replace(config, start=None, keep=0.0, backbone_start=None, extra=extra)


def milliseconds(job: Callable[[np.random.Generator], object]) -> float:
    """Return the mean time of a job over `CROPS` crops, in one thread as in the worker."""
    rngs = [np.random.default_rng(index) for index in range(CROPS)]
    begun = time.perf_counter()
    for rng in rngs:
        job(rng)
    return (time.perf_counter() - begun) / CROPS * 1e3


def measure(config: TrainingConfig) -> dict[str, Any]:
    """Measure one row: crops, then steps with the worker running."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(from_nothing(config), SHARED / "data", Path(folder))
    material = trainer.data.material
    row: dict[str, Any] = {"configuration": config.name}
    pairs = material.samples
    real = milliseconds(lambda rng: augment(pairs[int(rng.integers(len(pairs)))], config.augment, rng))
    row["real crop, ms"] = round(real, 1)
    share, rendered = 0.0, 0.0
    if material.scenes:
        share, scenes = material.scenes
        rendered = milliseconds(lambda rng: develop(labelled(scenes.render(rng)), config.augment, rng))
    row["rendered crop, ms"] = round(rendered, 1) if share else None
    steps, waits = [], []
    before = time.perf_counter()
    for batch in batches(trainer.data, config.batch, 0, STEPS):
        ready = time.perf_counter()
        trainer.step(batch)
        waits.append(ready - before)
        before = time.perf_counter()
        steps.append(before - ready)
    # The first steps wait for the worker to start, and compile kernels.
    step, wait = (statistics.median(times[3:]) * 1e3 for times in (steps, waits))
    making = config.batch * (share * rendered + (1 - share) * real)
    row |= {"step, ms": round(step), "waiting for crops, ms": round(wait, 1)}
    return row | {"crops of a step, ms": round(making)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure training steps and the making of crops.")
    default = [CONFIGS / f"{name}.toml" for name in ("lite", "lite_2", "standard_2")]
    parser.add_argument("configs", nargs="*", type=Path, default=default)
    rows = []
    for path in parser.parse_args(arguments).configs:
        rows.append(measure(read_config(path)) | {"configuration": path.stem})
        print(json.dumps(rows[-1]), flush=True)
    content = {"machine": f"{os.cpu_count()} cores, {cpu_name()}", "rows": rows}
    (RESULTS / "training.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
