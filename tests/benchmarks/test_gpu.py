"""The script for a GPU machine runs here too, on the CPU: a dry run of all its parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_dry_run_fills_every_figure(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh", tmp_path],
        env=os.environ | {"DEVICE": "cpu", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert set(report["networks"]) == {"lite", "standard", "paper"}
    assert all(times["p50"] > 0 for times in report["hd_frame_ms"].values())
    for name, parts in report["networks"].items():
        assert not [part for part in parts.values() if part and "failed" in part], name
        assert all(row["mean"] < 0.02 for row in parts["equality"]), "another network"
        assert parts["latency_ms"]["times_plain"] > 0 and parts["hd_host_to_host_ms"]["p95"] > 0
        assert [row["batch"] for row in parts["batches"]] == [1, 4]
        assert name != "paper" or "convolution" in str(parts["profile_1"])
    assert (tmp_path / "trace-paper-1.json.gz").stat().st_size > 1000
