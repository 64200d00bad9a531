"""`br2focus bench live` under several loads, each in a separate process; writes results/live.json.

python -m benchmarks.measure.live
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.paths import RESULTS
from br2focus.realtime.engine.backends.openvino import cpu_name

SECONDS = ("--seconds", "10")
LOADS = (
    ("--size", "480", "--soak", "0"),
    ("--size", "480", "--soak", "0", "--picture", "1280x720"),
    ("--size", "480", "--soak", "0", "--picture", "1920x1080"),
    ("--size", "384", "--soak", "0"),
    ("--size", "320", "--soak", "0"),
    ("--size", "320", "--rate", "60", "--soak", "0"),
    ("--size", "480", "--soak", "0", "--headless"),
    ("--size", "128", "--soak", "20000"),
)


def row(load: tuple[str, ...]) -> dict[str, Any]:
    """Return the result of one load."""
    command = [sys.executable, "-m", "br2focus.plugins.cli", "bench", "live", "--json"]
    environment = {"QT_QPA_PLATFORM": "offscreen"} | os.environ
    done = subprocess.run([*command, *SECONDS, *load], env=environment, stdout=subprocess.PIPE, check=True)
    report = json.loads(done.stdout)
    slope = report["memory_slope_bytes_per_frame"]
    age, stages = report["age_ms"], report["stages_ms"]
    size = load[load.index("--size") + 1]
    return {
        "source": report["source"],
        "map": f"{size} px",
        "shown": report["shown"],
        "frames/s": report["frames_per_second"],
        "dropped": report["dropped"],
        "age p50 / p95, ms": f"{age['p50']:.0f} / {age['p95']:.0f}",
        "stages, ms": ", ".join(f"{name} {spent:.1f}" for name, spent in stages.items()),
        "bytes a frame": "-" if slope is None else f"{slope:.0f}",
    }


def main() -> None:
    """Measure one load after the other, and write the JSON."""
    rows = []
    for load in LOADS:
        rows.append(row(load))
        print(json.dumps(rows[-1]), flush=True)
    machine = f"lite, {os.cpu_count()} cores, {cpu_name()}"
    (RESULTS / "live.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
