"""`annotate` as it is, and `annotate` without smoothing and refining, against supervision's `process_video`.

    python -m benchmarks.measure.annotate [CLIP]

All read the same 1280 x 720 clip, compute the same maps (`lite`, CPU, default size), draw the same heat
overlay and write a video, in turns in the same run; supervision calls the same network. `annotate` also
copies the audio, keeps the timestamps and writes H.264, where supervision writes MPEG-4 part 2. Writes
annotate.json into benchmarks/results. CLIP defaults to ``video/macro_grass.mp4`` in the data folder
(BR2FOCUS_SHARED, or ``shared`` next to the repository).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import supervision

from benchmarks.paths import RESULTS, SHARED
from br2focus.plugins.cli import run
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.engine.backends.openvino import cpu_name

OUT = RESULTS / "annotate.json"
ROUNDS = 3


MAPS_ALONE = "annotate --smoothing off --refine off"


def ours(clip: Path, folder: Path, *options: str) -> None:
    """Run the command as a user calls it, in this process."""
    args = ["annotate", str(clip), "-o", str(folder / "ours.mp4"), "--overlay", "heat", *options]
    if run([*args, "--device", "cpu", "--force"]):
        raise SystemExit("annotate failed")


def maps_alone(clip: Path, folder: Path) -> None:
    """Run the command without the steps that supervision does not have."""
    ours(clip, folder, *MAPS_ALONE.split()[1:])


def theirs(clip: Path, folder: Path) -> None:
    """Run the same network and overlay as a callback of supervision."""
    with FocusStage(device="cpu") as stage:

        def callback(frame: np.ndarray, index: int) -> np.ndarray:
            return stage(frame).overlay("heat")

        supervision.process_video(str(clip), str(folder / "theirs.mp4"), callback)


def seconds(job: Callable[[Path, Path], None], clip: Path, folder: Path) -> float:
    """Return the wall time of one whole job."""
    begun = time.perf_counter()
    job(clip, folder)
    return time.perf_counter() - begun


def main() -> None:
    """Measure in turns, print, and write the JSON."""
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "video" / "macro_grass.mp4"
    frames = supervision.VideoInfo.from_video_path(str(clip)).total_frames or 0
    jobs = {
        "br2focus annotate": ours,
        f"br2focus {MAPS_ALONE}": maps_alone,
        "supervision.process_video": theirs,
    }
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    with tempfile.TemporaryDirectory() as folder:
        for job in jobs.values():  # warm-up: converts graphs and brings files into memory
            job(clip, Path(folder))
        for _ in range(ROUNDS):
            for name, job in jobs.items():
                spent[name].append(seconds(job, clip, Path(folder)))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    report = {
        "clip": f"{clip.name}, {frames} frames of 1280 x 720",
        "machine": f"{os.cpu_count()} cores, {cpu_name()}",
        "rounds": ROUNDS,
        "rows": [
            {"": name, "seconds": round(s, 2), "frames a second": round(frames / s, 1)}
            for name, s in medians.items()
        ],
        "ratio": round(medians["supervision.process_video"] / medians[f"br2focus {MAPS_ALONE}"], 3),
    }
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
