"""Every backend on a CPU against the network in PyTorch, in every arithmetic, at every kind of size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from br2focus.models import checkpoint
from br2focus.models.fast import InferenceNet
from br2focus.models.int8 import eligible, observe, with_ranges
from br2focus.realtime.engine.backends import Backend
from br2focus.realtime.engine.backends.model_cache import graph_key, keep
from br2focus.realtime.engine.backends.openvino import OpenVinoBackend, nearest_levels
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.selection import BackendSpec, available_backends
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Image
from br2focus.realtime.sources.arrays import Frames

WAYS = [
    BackendSpec("openvino", "fp32"),
    BackendSpec("openvino", "bf16"),
    BackendSpec("openvino", "int8"),
    BackendSpec("onnxruntime", "fp32"),
    BackendSpec("torch", "bf16"),
]
# Largest and mean difference in P. bfloat16 has 8 bits: single pixels at an edge of the map move a lot, the
# map as a whole hardly.
ALLOWED = {"fp32": (1e-4, 1e-5), "bf16": (0.25, 1e-2), "int8": (0.25, 2e-2)}
SIZES = [(90, 120), (64, 64), (161, 121), (33, 300), (2, 2), (5, 3), (3, 1000), (1, 1)]


def picture(height: int = 90, width: int = 120, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)


@pytest.fixture(scope="module", params=WAYS, ids=lambda spec: spec.name)
def engine(model: str, request: pytest.FixtureRequest) -> Engine:
    spec = request.param
    pytest.importorskip(spec.library, reason=f"{spec.library} is not installed")
    if spec not in available_backends(
        spec.library, "auto" if spec.library != "torch" else "bf16", calibrated=True
    ):
        pytest.skip(f"this CPU has no {spec.precision}")
    return Engine(EngineSettings(model, "cpu", backend=spec.library, precision=spec.precision))


@pytest.mark.parametrize("size", SIZES)
def test_a_map_is_that_of_the_network(engine: Engine, model: str, size: tuple[int, int]) -> None:
    reference = Engine(EngineSettings(model, "cpu", backend="torch", precision="fp32"))
    image = picture(*size)
    wanted, found = reference(image).values, engine(image).values
    assert found.shape == size and found.dtype == np.float32
    difference = np.abs(found - wanted)
    most, mean = ALLOWED[engine.settings.precision]
    assert difference.max() <= most and difference.mean() <= mean
    assert f"{engine.settings.backend} {engine.settings.precision}" in engine.device
    assert not engine.notices


def test_frames_in_flight_do_not_mix(engine: Engine) -> None:
    images = [picture(64, 96, seed) for seed in range(5)]
    alone = [engine(image).values for image in images]
    for (_, blur), wanted in zip(engine.stream(Frames(images), depth=3), alone, strict=True):
        assert np.abs(blur.values - wanted).max() < 1e-2  # other kernels for fewer threads


def test_one_conversion_serves_every_size(model: str, cache_folder: Path) -> None:
    Engine(EngineSettings(model, "cpu", backend="openvino"))(picture())
    _, digest = checkpoint.find(model)

    def unwanted() -> InferenceNet:
        raise AssertionError("converted again")

    for size in ((128, 96), (32, 32), (64, 128)):
        backend: Backend = OpenVinoBackend(digest, unwanted, size, cache_folder)
        assert backend.start(picture())().shape == (size[1], size[0])


def test_a_graph_has_the_key_of_all_it_is_made_of() -> None:
    keys = {graph_key("a", "1"), graph_key("a", "2"), graph_key("b", "1")}
    assert len(keys) == 3


def test_a_graph_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    def fails(at: Path) -> None:
        at.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        keep(tmp_path / "graph.xml", fails)
    assert list(tmp_path.iterdir()) == []
    keep(tmp_path / "graph.xml", lambda at: at.with_suffix(".bin").write_text("weights"))
    assert [file.name for file in tmp_path.iterdir()] == ["graph.bin"]


def test_rounding_touches_the_units_alone(model: str) -> None:
    net, info = checkpoint.load(Path(model))
    plain = InferenceNet(net, info.scale)
    assert sorted(eligible(plain)) == sorted(info.ranges) and len(info.ranges) == 16
    pixels = torch.from_numpy(picture(64, 96))[None]
    with torch.inference_mode():
        exact, rounded = plain(pixels), with_ranges(plain, info.ranges)(pixels)
    assert 0 < (exact - rounded).abs().max() < 0.05
    wide = {name: (low * 1e4 - 1e4, high * 1e4) for name, (low, high) in info.ranges.items()}
    with torch.inference_mode():
        assert (exact - with_ranges(plain, wide)(pixels)).abs().max() > 0.02, "nothing is rounded"


def test_ranges_are_the_extremes_over_all_pictures(model: str) -> None:
    net, info = checkpoint.load(Path(model))
    plain = InferenceNet(net, info.scale)
    pictures = [(torch.from_numpy(picture(64, 64, seed))[None],) for seed in range(3)]
    single = [observe(plain, [each]) for each in pictures]
    for name, (low, high) in observe(plain, pictures).items():
        assert low == min(each[name][0] for each in single)
        assert high == max(each[name][1] for each in single)
    with pytest.raises(ValueError, match="other layers"):
        with_ranges(plain, {"l2h.0.enter": (0, 1)})


def test_weights_in_whole_numbers_stay_blind_to_brightness() -> None:
    rng = np.random.default_rng(0)
    blind = rng.normal(0, 40, (8, 2, 3, 5))
    blind -= blind.mean((1, 2, 3), keepdims=True)
    others = rng.normal(7, 40, (8, 2, 3, 5))
    for kernels in (blind, others):
        levels = nearest_levels(kernels)
        assert np.array_equal(levels, np.round(levels)) and np.abs(levels - kernels).max() < 1
    assert not nearest_levels(blind).sum((1, 2, 3)).any()
    assert np.array_equal(nearest_levels(others), np.round(others))
