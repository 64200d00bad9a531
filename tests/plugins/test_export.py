"""`br2focus export`: files that compute what the network does, for runtimes that know nothing of us."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.models import checkpoint
from br2focus.plugins.cli import run
from br2focus.realtime.engine import export as export_module
from br2focus.realtime.engine.backends import onnxruntime, openvino
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def wanted(model: str) -> np.ndarray:
    return Engine(EngineSettings(model, "cpu", backend="torch"))(PICTURE).values


def exported(model: str, out: Path, *options: str) -> int:
    return run(["export", model, "-o", str(out), *options])


def test_onnx(model: str, wanted: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("onnxruntime") is None:
        pytest.skip("the extra onnx is not installed")
    assert exported(model, tmp_path / "net.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["largest"] < 1e-4
    session = onnxruntime.library().InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    assert [i.name for i in session.get_inputs()] == ["pictures"]
    [found] = session.run(None, {"pictures": PICTURE[None]})
    assert np.abs(found[0] - wanted).max() < 1e-4


def test_openvino(model: str, wanted: np.ndarray, tmp_path: Path) -> None:
    assert exported(model, tmp_path / "net.xml", "--int8") == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.library().compile_model(tmp_path / "net.xml", "CPU", hint)([PICTURE[None]])[0][0]
    assert 1e-6 < np.abs(found - wanted).max() < 0.25


def test_a_file_that_computes_something_else_is_not_kept(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def zeros(file: Path) -> Callable[[np.ndarray], np.ndarray]:
        return lambda inputs: np.zeros(inputs[0].shape[:3], np.float32)

    wrong = export_module.Format(lambda net, file: file.write_text("net"), zeros)
    monkeypatch.setattr(export_module, "_openvino", lambda rounded: wrong)
    assert exported(model, tmp_path / "net.xml") == 6
    assert "not kept" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_calibration_keeps_the_weights(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), PICTURE * (index + 1))
    out = tmp_path / "net.safetensors"
    assert exported(model, out, "--calibrate", str(folder)) == 0
    (before, old), (after, new) = checkpoint.load(Path(model)), checkpoint.load(out)
    assert old.ranges != new.ranges and old.ranges.keys() == new.ranges.keys()
    pairs = zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    assert all((one == other).all() for one, other in pairs)
    (tmp_path / "names.txt").write_text("0.jpg\n")
    names = ("--list", str(tmp_path / "names.txt"))
    one = tmp_path / "one.safetensors"
    assert exported(model, one, "--calibrate", str(folder), *names) == 0
    assert checkpoint.read_info(one).ranges != new.ranges


@pytest.mark.parametrize(
    ("out", "options", "code", "said"),
    [
        ("net.pt", (), 2, "the suffix is one of"),
        ("net.safetensors", (), 2, "--calibrate"),
        ("net.onnx", ("--int8",), 2, "int8 is for .xml"),
        ("net.safetensors", ("--calibrate", "nowhere"), 3, "nowhere"),
        ("net.xml", ("--calibrate", "nowhere"), 2, "kept in a .safetensors"),
        ("no/folder/../../net.pt", (), 2, "suffix"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: str,
    tmp_path: Path,
    out: str,
    options: tuple[str, ...],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exported(model, tmp_path / out, *options) == code
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(model: str, tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("mine")
    assert exported(model, tmp_path / "net.xml") == 2
    assert (tmp_path / "net.xml").read_text() == "mine"
