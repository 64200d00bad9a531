"""Speed in comparison: `br2focus bench engine`, `bench video` and cold starts; writes speed.json.

    python -m benchmarks.measure.speed              everything, some four minutes; nothing else should run
    python -m benchmarks.measure.speed --seconds 1  a shorter run
    python -m benchmarks.measure.speed --draw       only redraw docs/speed.png from speed.json

`paper` has no weights here: its time is that of random ones, which take as long.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from benchmarks.paths import DOCS, RESULTS
from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig

COMMAND = [sys.executable, "-m", "br2focus.plugins.cli"]
STARTS = 9
OUT, PLOT = RESULTS / "speed.json", DOCS / "speed.png"
COLOURS = ("#0ea5e9", "#2563eb", "#7c3aed", "#db2777", "#f59e0b", "#10b981")


def bench(*arguments: str) -> dict[str, Any]:
    """Return the JSON of one `br2focus bench`, run in a separate process."""
    done = subprocess.run([*COMMAND, "bench", *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def random_paper(folder: Path) -> Path:
    """Write the paper's network on ResNeXt-50 with random weights as a checkpoint; return its path."""
    torch.manual_seed(0)
    config = BR2NetConfig()
    path = folder / "paper.safetensors"
    checkpoint.save(BR2Net(config).eval(), ModelInfo("paper", config, size=320), path)
    return path


def one_frame(folder: Path) -> Path:
    """Write a video of one frame of 1280 x 720; return its path."""
    path = folder / "one.mp4"
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        image = picture.repeat(8, 0).repeat(8, 1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


def starts(folder: Path) -> dict[str, Any]:
    """Time whole commands in turns, in seconds: the imports alone, a second run on one frame, the help."""
    clip, out = one_frame(folder), folder / "out.mp4"
    jobs: dict[str, list[str | Path]] = {
        "python -c 'import numpy, cv2, av'": [sys.executable, "-c", "import numpy, cv2, av"],
        "br2focus annotate, one frame": [*COMMAND, "annotate", clip, "-o", out, "--force"],
        "br2focus --help": [*COMMAND, "--help"],
    }
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(STARTS + 1):
        for name, job in jobs.items():
            begun = time.perf_counter()
            subprocess.run([str(part) for part in job], check=True, capture_output=True)
            if number:  # the first run converts the model
                spent[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    imports = next(iter(medians.values()))
    return {
        "rows": [
            {"command": name, "s": round(s, 3), "times the imports": round(s / imports, 2)}
            for name, s in medians.items()
        ]
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot maps per second of every way (left), and the time of an annotated frame by stage (right)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = report["lite"]["network"]
    names = [row["way"] for row in rows][::-1]
    rates = [row["maps_per_s"] for row in rows][::-1]
    colours = ["#9ca3af" if name.startswith("plain") else "#2563eb" for name in names]
    bars = left.barh(names, rates, color=colours)
    left.bar_label(bars, fmt="%.0f", padding=3)
    left.set_title(f"lite, {report['lite']['map']}: maps a second, one at a time", fontsize=10)
    left.margins(x=0.12)
    stages, at = report["lite_720p"]["stages_ms"], 0.0
    shown = (
        "preprocess",
        "network",
        "to frame size",
        "smoothing",
        "refine fast",
        "overlay peaking",
    )
    for name, colour in zip(shown, COLOURS, strict=True):
        ms = stages[name]["p50"]
        right.barh([0], [ms], left=[at], color=colour, label=f"{name} {ms:.1f}")
        at += ms
    right.set_title(f"lite, 1280x720, live: {at:.1f} ms a frame, by stage", fontsize=10)
    right.set_yticks([])
    right.set_ylim(-1.6, 0.9)
    right.legend(ncols=2, loc="lower center", fontsize=9, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure one part after the other, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    if options.draw:
        draw(json.loads(options.out.read_text()), PLOT)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = ("--seconds", options.seconds, "--device", options.device)
        paper = ("--model", str(random_paper(folder)))
        video = ("video", "--rounds", "3", "--device", options.device)
        report = {
            "lite": bench("engine", "--picture", "320x320", "--size", "320", *common, "--compile"),
            "lite_640": bench("engine", "--picture", "640x360", "--size", "640", *common),
            "lite_720p": bench("engine", "--picture", "1280x720", *common),
            "standard": bench(
                "engine", "--picture", "320x320", "--size", "320", "--model", "standard", *common
            ),
            "paper": bench("engine", "--picture", "320x320", "--size", "320", *paper, *common),
            "video": bench(*video),
            "starts": starts(folder),
            "cores": os.cpu_count(),
        }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    if options.out == OUT:
        draw(report, PLOT)


if __name__ == "__main__":
    main()
