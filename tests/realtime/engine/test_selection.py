"""The choice of a backend: what is possible, what wins, what is remembered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from br2focus.realtime.engine import selection
from br2focus.realtime.engine.backends import Backend, Pending
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.selection import (
    REFERENCE,
    BackendSpec,
    available_backends,
    best,
    select,
)
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Image, Values

FP32, BF16, INT8 = (BackendSpec("openvino", precision) for precision in ("fp32", "bf16", "int8"))
ONNX = BackendSpec("onnxruntime", "fp32")


class Timed:
    """A backend that takes its time, or cannot compute."""

    depth = 1

    def __init__(self, name: str, seconds: float, error: Exception | None = None) -> None:
        self.name, self.seconds, self.error, self.closed = name, seconds, error, False

    def start(self, image: Image) -> Pending:
        time.sleep(self.seconds)
        return self.finish

    def finish(self) -> Values:
        if self.error is not None:
            raise self.error
        return np.zeros((32, 32), np.float32)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ({FP32: 20.0, BF16: 10.0, INT8: 9.0}, INT8),
        ({FP32: 20.0, BF16: 10.0, INT8: 9.8}, BF16),  # not worth the rounding
        ({FP32: 20.0, BF16: 19.5}, FP32),
        ({FP32: 20.0, ONNX: 19.9}, FP32),  # as fast
        ({ONNX: 15.0, FP32: 20.0, INT8: 30.0}, ONNX),
        ({ONNX: 15.0, FP32: 20.0, BF16: 14.0}, BF16),
        ({}, REFERENCE),
    ],
)
def test_the_fastest_wins_unless_it_rounds_for_nothing(
    times: dict[BackendSpec, float], wanted: BackendSpec
) -> None:
    assert best(times) == wanted


def choose_among(
    seconds: dict[BackendSpec, float | Exception],
    folder: Path,
    sha256: str = "a",
) -> tuple[selection.Selection, list[BackendSpec]]:
    made: list[BackendSpec] = []

    def make(spec: BackendSpec) -> Timed:
        made.append(spec)
        found = seconds[spec]
        if isinstance(found, Exception):
            raise found
        return Timed(spec.name, found)

    chosen = select(
        list(seconds),
        make,
        (32, 32),
        sha256=sha256,
        cache=folder,
    )
    return chosen, made


def test_it_is_measured_once_and_says_why(tmp_path: Path) -> None:
    seconds: dict[BackendSpec, float | Exception] = {FP32: 0.02, BF16: 0.002, INT8: RuntimeError("no")}
    first, made = choose_among(seconds, tmp_path)
    assert first.spec == BF16 and first.fresh and made == [FP32, BF16, INT8]
    assert first.reason.startswith("openvino bf16 is the fastest here (openvino fp32 2")
    assert "int8" not in first.reason and first.reason.endswith("at 32x32)")
    again, made = choose_among(seconds, tmp_path)
    assert again.spec == BF16 and not again.fresh and made == []
    assert again.milliseconds == first.milliseconds


def test_one_that_starts_and_cannot_compute_is_left_out_with_its_reason(tmp_path: Path) -> None:
    made = {
        FP32: Timed("openvino fp32", 0.0, RuntimeError("primitive failed\nmore")),
        ONNX: Timed("onnxruntime fp32", 0.0),
    }
    chosen = select(list(made), made.__getitem__, (32, 32), sha256="a", cache=tmp_path)
    assert chosen.spec == ONNX and chosen.failed == {"openvino fp32": "primitive failed"}
    assert all(backend.closed for backend in made.values())


def test_an_error_that_is_no_fault_leaves_nothing_open(tmp_path: Path) -> None:
    made = {FP32: Timed("a", 0.0), ONNX: Timed("b", 0.0, KeyError("a bug"))}
    with pytest.raises(KeyError):
        select(list(made), made.__getitem__, (32, 32), sha256="a", cache=tmp_path)
    assert all(backend.closed for backend in made.values())


@pytest.mark.parametrize(
    "seconds",
    [
        {FP32: RuntimeError("no"), INT8: RuntimeError("no")},
        {FP32: 0.0, INT8: RuntimeError("std::bad_alloc")},
        {FP32: 0.0, INT8: MemoryError()},
    ],
)
def test_what_may_be_otherwise_next_time_is_not_kept(
    tmp_path: Path, seconds: dict[BackendSpec, float | Exception]
) -> None:
    def choose_again(
        given: dict[BackendSpec, float | Exception],
    ) -> tuple[selection.Selection, list[BackendSpec]]:
        return choose_among(given, tmp_path)

    first, _ = choose_again(seconds)
    assert first.spec == (REFERENCE if len(first.failed) == 2 else FP32)
    again, made = choose_again({FP32: 0.01, INT8: 0.0})
    assert again.fresh and again.spec == INT8 and len(made) == 2


def test_an_empty_memory_of_an_earlier_version_is_measured_anew(tmp_path: Path) -> None:
    choose_among({FP32: 0.0}, tmp_path)
    [file] = tmp_path.glob("selection-*.json")
    file.write_text('{"spec": ["torch", "fp32"], "milliseconds": {}, "size": [32, 32]}')
    assert choose_among({FP32: 0.0}, tmp_path)[0].spec == FP32


def test_another_model_or_question_is_measured_anew(tmp_path: Path) -> None:
    choose_among({FP32: 0.0, BF16: 0.001}, tmp_path)
    assert choose_among({FP32: 0.0, BF16: 0.001}, tmp_path, sha256="b")[0].fresh
    assert choose_among({FP32: 0.0}, tmp_path)[0].fresh


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"spec": 3}'])
def test_a_damaged_memory_is_measured_anew(tmp_path: Path, content: str) -> None:
    choose_among({FP32: 0.0}, tmp_path)
    [file] = tmp_path.glob("selection-*.json")
    file.write_text(content)
    assert choose_among({FP32: 0.0}, tmp_path)[0].fresh
    assert json.loads(file.read_text())["spec"] == ["openvino", "fp32"]


def test_without_a_memory_nothing_is_measured_again_and_again() -> None:
    chosen, made = choose_among({FP32: 0.0, INT8: 0.1, ONNX: 0.2}, Path("/proc/nowhere"))
    assert chosen.spec == INT8 and made == [] and "not measured" in chosen.reason


def test_what_is_not_possible_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    assert available_backends("torch", "auto", calibrated=True) == [REFERENCE]
    assert INT8 not in available_backends("openvino", "auto", calibrated=False)
    with pytest.raises(SettingsError, match="onnxruntime with int8 is not possible here: .*fp32"):
        available_backends("onnxruntime", "int8", calibrated=True)
    with pytest.raises(SettingsError, match="with int8"):
        available_backends("auto", "int8", calibrated=False)
    monkeypatch.setattr(selection, "find_spec", lambda name: name == "torch" or missing(name))
    assert available_backends("auto", "fp32", calibrated=True) == [REFERENCE]
    with pytest.raises(SettingsError, match="openvino with auto"):
        available_backends("openvino", "auto", calibrated=True)


def test_an_engine_tells_its_choice(model: str) -> None:
    engine = Engine(EngineSettings(model, "cpu"))
    assert engine.selection is None
    engine(np.zeros((96, 128, 3), np.uint8))
    assert engine.selection is not None and engine.selection.spec.name in engine.device
    assert engine.selection.spec.name in engine.selection.reason


def test_a_backend_that_cannot_compute_is_told_and_the_next_one_used(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first inference of the one that starts best fails; the frame comes from the others."""
    monkeypatch.setattr(selection, "_key", lambda *_: tmp_path.name)  # nothing is remembered, graphs are kept
    engine = Engine(EngineSettings(model, "cpu"))
    make = engine.factory.on_cpu

    def broken(spec: BackendSpec, size: tuple[int, int], *, depth: int, any_frame: bool = False) -> Backend:
        made = make(spec, size, depth=depth)
        return Timed(spec.name, 0.0, RuntimeError("no kernel")) if spec == FP32 else made

    monkeypatch.setattr(engine.factory, "on_cpu", broken)
    assert engine(np.zeros((96, 128, 3), np.uint8)).values.shape == (96, 128)
    assert "openvino fp32 failed (no kernel): left out" in engine.notices
