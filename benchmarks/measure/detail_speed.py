"""The cost of reading the frame's own pixels: a network with ``detail`` compared with the same without it.

    python -m benchmarks.measure.detail_speed [--model NAME] [--seconds N]

Both get the same frames, in turns in one run, each with everything that a map needs: shrinking the frame, its
luma, the network, P from its radii. Writes detail_speed.json into benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paths import RESULTS
from br2focus.models import checkpoint
from br2focus.models.br2net import without_detail
from br2focus.plugins.cli.bench.machine import in_turns, machine
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings

FILE = RESULTS / "detail_speed.json"
FRAMES = ((1280, 720), (1920, 1080), (3840, 2160))
PRECISIONS = ("fp32", "auto")


def plain_checkpoint(model: str, folder: Path) -> Path:
    """Write the checkpoint ``model`` with ``detail = "none"``, and return its path."""
    net, info = checkpoint.load(checkpoint.find(model)[0])
    plain = without_detail(net)
    ranges = {name: span for name, span in info.ranges.items() if not name.startswith("detail.")}
    path = folder / "plain.safetensors"
    checkpoint.save(plain, replace(info, config=plain.config, ranges=ranges), path)
    return path


def rows(model: str, seconds: float) -> list[dict[str, Any]]:
    """Return one row per frame size and precision: medians in milliseconds, and their ratio."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        plain = str(plain_checkpoint(model, Path(folder)))
        for precision in PRECISIONS:
            for width, height in FRAMES:
                # A new engine each time: it specialises only for the first frame size that it sees.
                engines = {
                    name: Engine(EngineSettings(path, "cpu", precision=precision))  # type: ignore[arg-type]
                    for name, path in (("plain", plain), ("detail", model))
                }
                noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
                jobs = {
                    name: lambda engine=engine, noise=noise: engine.start(noise)()
                    for name, engine in engines.items()
                }
                times = in_turns(jobs, seconds)
                for engine in engines.values():
                    engine.close()
                plain_ms, ms = (1e3 * statistics.median(times[n]) for n in ("plain", "detail"))
                found.append(
                    {
                        "frame": f"{width} x {height}",
                        "asked": precision,
                        "computes": engines["detail"].device,
                        "without, ms": round(plain_ms, 1),
                        "with, ms": round(ms, 1),
                        "ratio": round(ms / plain_ms, 2),
                    }
                )
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="native")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    found = rows(options.model, options.seconds)
    for row in found:
        print(row, flush=True)
    here = machine("cpu")
    words = f"{here['cores']} cores, {here['cpu']} ({', '.join(here['cpu_features'])})"
    FILE.write_text(json.dumps({"machine": words, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
