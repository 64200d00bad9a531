"""macOS has no CPU affinity and none of the process controls of Linux: neither is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PRELUDE = "import os, sys; del os.sched_getaffinity, os.sched_setaffinity\n"


def as_on_macos(code: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stage_computes_without_affinity(model: str) -> None:
    code = """
import numpy as np
from br2focus.plugins.opencv import FocusStage
with FocusStage(sys.argv[1], device="cpu") as stage:
    print(stage(np.zeros((60, 80, 3), np.uint8)).blur.shape)
"""
    assert as_on_macos(code, model).strip() == "(60, 80)"


def test_a_file_is_annotated_without_affinity(model: str, make_clip, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    code = "from br2focus.plugins.cli import run\nsys.exit(run(sys.argv[1:]))"
    as_on_macos(code, "annotate", clip, "-o", tmp_path / "out.mp4", "--model", model)
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_an_archive_restricts_its_processes_as_far_as_macos_can() -> None:
    code = """
from br2focus.realtime.device import cores, core_numbers
from br2focus.plugins.cli.archive import worker
assert cores() == len(core_numbers()) == os.cpu_count()
sys.platform = "darwin"  # not before: other libraries would load other files
worker._restrict_process({0})
import resource
print(resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert as_on_macos(code).strip() == "(0, 0)"
