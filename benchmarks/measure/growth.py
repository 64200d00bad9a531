"""How time and memory grow with the picture, the map, the batch and the number of streams.

python -m benchmarks.measure.growth                 write growth.json and docs/growth.png
python -m benchmarks.measure.growth --point KIND N  one point, as JSON on stdout; each in a fresh process
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paths import DOCS, RESULTS
from br2focus.models import checkpoint
from br2focus.plugins.cli.bench.machine import in_turns, machine
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.frame import Image

POINTS = {
    "picture": (160, 320, 640, 1280, 1920, 2560, 3840),  # width of a 16:9 frame, map of 480
    "map": (128, 192, 256, 320, 480, 640, 960, 1280),  # long side, frame of 1280 x 720
    "batch": (1, 2, 4, 8, 16),  # PyTorch, float32, 320 x 192
    "streams": (1, 2, 3, 4, 6, 8),  # threads of a program, each with a stage; maps of 320
}
UNITS = {
    "picture": "width of the frame, pixels",
    "map": "long side of the map, pixels",
    "batch": "pictures in a batch",
    "streams": "streams side by side",
}
SECONDS = 2.0


def scene(width: int) -> Image:
    """Return a 16:9 picture with texture."""
    height = width * 9 // 16
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def per_call(job: Callable[[], object]) -> float:
    """Return the median time of a call in milliseconds."""
    return 1e3 * statistics.median(in_turns({"job": job}, SECONDS)["job"])


def of_picture(width: int) -> float:
    """Time a whole `FocusStage` call with a map of the model's own size."""
    with FocusStage(device="cpu") as stage:
        image = scene(width)
        return per_call(lambda: stage(image))


def of_map(size: int) -> float:
    """Time a whole `FocusStage` call on a frame of 1280 x 720."""
    with FocusStage(device="cpu", size=size) as stage:
        image = scene(1280)
        return per_call(lambda: stage(image))


def of_batch(count: int) -> float:
    """Time the network on a batch, in milliseconds per picture."""
    import torch

    from br2focus.models.br2net import without_detail
    from br2focus.models.fast import InferenceNet

    net, info = checkpoint.load(checkpoint.find("lite")[0])
    fast = InferenceNet(without_detail(net), info.scale).to(memory_format=torch.channels_last)
    pictures = torch.zeros((count, 192, 320, 3), dtype=torch.uint8)
    with torch.inference_mode():
        return per_call(lambda: fast(pictures)) / count


def of_streams(count: int) -> float:
    """Time stages in threads, each with a frame of 1280 x 720, in milliseconds per frame over all streams."""
    image, done = scene(1280), [0] * count
    start, stop = threading.Barrier(count + 1), threading.Event()

    def run(number: int) -> None:
        with FocusStage(device="cpu", size=320) as stage:
            stage(image)
            start.wait()
            while not stop.is_set():
                stage(image)
                done[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    stop.wait(2 * SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return 1e3 * (time.perf_counter() - begun) / sum(done)


MEASURES = {"picture": of_picture, "map": of_map, "batch": of_batch, "streams": of_streams}


def peak_megabytes() -> int:
    """Return the peak memory of this process (``VmHWM``; ``ru_maxrss`` is inherited from the parent)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise OSError("no VmHWM in /proc/self/status")


def point(kind: str, value: int) -> dict[str, Any]:
    """Measure one point in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.measure.growth", "--point", kind, str(value)]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=-1, check=True).stdout)
    return found


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Plot time and memory of every curve, on axes that begin at 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    for column, (kind, points) in enumerate(curves.items()):
        x = [p["at"] for p in points]
        for row, (key, unit) in enumerate((("ms", "ms a frame"), ("mb", "peak memory, MB"))):
            axis = axes[row][column]
            axis.plot(x, [p[key] for p in points], marker="o", color="#2563eb")
            axis.set_ylim(0)
            axis.set_xlim(0)
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(unit)
        axes[1][column].set_xlabel(UNITS[kind])
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure every point, and write the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--point", nargs=2, metavar=("KIND", "N"))
    options = parser.parse_args()
    if options.point:
        kind, value = options.point
        ms = MEASURES[kind](int(value))
        print(json.dumps({"at": int(value), "ms": round(ms, 2), "mb": peak_megabytes()}))
        return
    curves = {kind: [point(kind, value) for value in values] for kind, values in POINTS.items()}
    content = {"machine": machine("cpu"), "curves": curves}
    (RESULTS / "growth.json").write_text(json.dumps(content, indent=1) + "\n")
    draw(curves, DOCS / "growth.png")


if __name__ == "__main__":
    main()
