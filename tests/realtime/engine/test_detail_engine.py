"""A network with blur radii in the engine: the same on every backend, at any size, over time, exported."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from br2focus.models.checkpoint import read_info
from br2focus.plugins.cli import run
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.engine.backends import onnxruntime
from br2focus.realtime.engine.backends.area import AreaShrink, luma_of
from br2focus.realtime.engine.backends.cuda_net import CudaNet
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.sources.arrays import Frames

SIZES = [(90, 120), (101, 127), (40, 700)]  # each by a graph of its own, then one for any frame
BACKENDS = ["openvino"] + ["onnxruntime"] * (find_spec("onnxruntime") is not None)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    noise[:, width // 2 :] = cv2.GaussianBlur(noise, (0, 0), 3)[:, width // 2 :]
    return noise


def engine_for(model: str, backend: str, **settings: object) -> Engine:
    return Engine(EngineSettings(model, "cpu", backend=backend, precision="fp32", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_computes_the_same(detail_model: str, backend: str) -> None:
    exact, fast = engine_for(detail_model, "torch"), engine_for(detail_model, backend)
    for size in SIZES:
        image = picture(*size)
        wanted, found = exact.start(image)(), fast.start(image)()
        assert wanted.radii is not None and found.radii is not None
        assert np.abs(wanted.radii.log_radius - found.radii.log_radius).max() < 2e-3, size
        assert np.abs(wanted.values - found.values).max() < 2e-3, size
        assert found.radii.reference == pytest.approx(wanted.radii.reference, rel=1e-3)
    assert np.ptp(exact.start(picture(90, 120))().values) > 0.05, "the map depends on the picture"
    assert not fast.notices


def test_maps_have_the_network_s_size_as_before(detail_model: str) -> None:
    blur = engine_for(detail_model, "torch").start(picture(213, 320))()
    assert blur.values.shape == (96, 128)
    assert blur.radii is not None and blur.radii.log_radius.shape == (48, 64)


def test_luma_on_a_gpu_is_opencv_s() -> None:
    image = picture(61, 83)
    ours = luma_of(torch.from_numpy(image)[None])[0].numpy()
    assert np.array_equal(ours, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def test_the_gpu_s_steps_give_the_cpu_s_planes(detail_model: str) -> None:
    """What a GPU runs on the frame, run on a CPU: area average, luma, network."""
    engine = engine_for(detail_model, "torch")
    image = picture(272, 384)
    net = CudaNet(engine.factory.net((384, 272)), "cpu", dtype=torch.float32)
    shrink = AreaShrink((384, 272), (128, 96), net.device)
    frames = torch.from_numpy(image)[None]
    with torch.inference_mode():
        planes = net.run(shrink(frames), luma_of(frames))[0].numpy()
    blur = engine.start(image)()
    assert blur.radii is not None
    assert np.abs(planes[0] - blur.radii.log_radius).max() < 0.05


def test_a_circle_of_confusion_moves_the_cut(detail_model: str) -> None:
    image = picture(213, 320)
    strict, usual, loose = (
        engine_for(detail_model, "torch", coc=coc).start(image)().values.mean() for coc in ("0.1", None, "60")
    )
    assert strict > usual > loose


def test_a_model_without_radii_says_that_coc_is_left_out(model: str) -> None:
    engine = engine_for(model, "openvino", coc="2")
    assert any("--coc is left out" in notice for notice in engine.notices)
    assert engine.start(picture(90, 120))().radii is None


def test_a_pipeline_has_one_reference_for_a_clip(detail_model: str) -> None:
    engine = engine_for(detail_model, "torch")
    images = [picture(96, 128, seed) for seed in range(6)]
    references = []
    for _ in range(2):
        with Pipeline(Frames(images), engine) as results:
            references.append([result.reference for result in results])
    assert references[0] == references[1], "the second clip begins anew"
    assert engine.reference.rounded == pytest.approx(references[1][-1], abs=0.006)


def test_a_stage_gives_radii_and_scores(detail_model: str) -> None:
    image = picture(213, 320)
    with FocusStage(detail_model, backend="torch", refine="fast") as stage:
        result = stage(image)
        assert result.radius is not None and result.radius.shape == (213, 320)
        assert result.radius.dtype == np.float32 and result.blur.shape == (213, 320)
        assert 0 < result.score((0, 0, 50, 50)) < 1
    with (
        FocusStage(detail_model, backend="torch", coc=3.0) as loose,
        FocusStage(detail_model, backend="torch", coc="0.3") as strict,
    ):
        assert loose(image).blur.mean() < strict(image).blur.mean()


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_an_exported_file_measures_its_evidence_itself(
    detail_model: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".onnx" and "onnxruntime" not in BACKENDS:
        pytest.skip("the extra onnx is not installed")
    path = tmp_path / f"net{suffix}"
    assert run(["export", detail_model, "-o", str(path), "--frame", "320x213", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["largest"] < 1e-3
    if suffix == ".onnx":
        session = onnxruntime.library().InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [each.name for each in session.get_inputs()] == ["pictures", "luma"]


def test_a_checkpoint_with_radii_can_be_calibrated(detail_model: str, tmp_path: Path) -> None:
    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), picture(90, 120, seed))
    out = tmp_path / "ranged.safetensors"
    assert run(["export", detail_model, "-o", str(out), "--calibrate", str(tmp_path)]) == 0
    assert {"detail.refine.enter", "detail.refine.body.2"} <= set(read_info(out).ranges)
    rounded = Engine(EngineSettings(str(out), "cpu", backend="openvino", precision="fp32"))
    plain = engine_for(detail_model, "openvino")
    image = picture(90, 120)
    assert np.abs(rounded(image).values - plain(image).values).max() < 1e-3
