"""Imports only go down, and a process that infers carries neither Qt nor training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORT_ALL = """
import importlib, pkgutil, sys
import br2focus.realtime as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print("\\n".join(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Names of all modules in a fresh process that imported every module of `br2focus.realtime`."""
    command = [sys.executable, "-c", IMPORT_ALL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_contracts_hold() -> None:
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_pipeline_was_imported_whole(loaded: set[str]) -> None:
    assert {"br2focus.realtime.pipeline", "br2focus.realtime.engine.backends", "torch"} <= loaded


def test_pipeline_carries_no_qt(loaded: set[str]) -> None:
    assert [name for name in loaded if name.startswith("PyQt6")] == []


@pytest.mark.parametrize("part", ["br2focus.models.training", "br2focus.models.evaluation"])
def test_inference_carries_no_training(loaded: set[str], part: str) -> None:
    assert [name for name in loaded if name.startswith(part)] == []


def test_pipeline_carries_no_plugin(loaded: set[str]) -> None:
    assert [name for name in loaded if name.startswith("br2focus.plugins")] == []
