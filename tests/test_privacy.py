"""Nothing is told to anybody: the libraries that report on their users do not do it here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

RUN = """
import numpy, sys
from br2focus.realtime import Engine, EngineSettings
engine = Engine(EngineSettings(sys.argv[1], "cpu", backend=sys.argv[2], precision="fp32"))
engine(numpy.zeros((64, 64, 3), numpy.uint8))
assert sys.argv[2] in engine.device, engine.device
assert "openvino_telemetry" not in sys.modules
"""


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_library_keeps_no_number_of_this_computer_and_sends_nothing(
    model: str, library: str, tmp_path: Path
) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    silent = (
        "CI",
        "ORT_",
        "XDG_",
        "GITHUB_",
        "TF_BUILD",
        "PYTEST",
    )  # where they hold back by themselves
    shown = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, model, library],
        env=shown | {"HOME": str(home), "BR2FOCUS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*")), "a number or a record of use was written"
