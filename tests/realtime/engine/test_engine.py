"""The engine: sizes, order, faults and fallbacks on a CPU; test_cuda.py has the GPU."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.models import checkpoint
from br2focus.models.errors import CheckpointError
from br2focus.models.sizes import network_size
from br2focus.realtime.engine.backends.model_cache import graph_key
from br2focus.realtime.engine.backends.openvino import library
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.selection import REFERENCE
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.errors import ComputeError
from br2focus.realtime.sources.arrays import Frames

SIZES = [(720, 1280), (427, 640), (1280, 720), (161, 121), (121, 161), (2, 2), (5, 3), (3, 1000)]


def picture(height=90, width=120, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_a_map_of_that_size(model, size):
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    blur = engine(picture(*size))
    kept = blur.values.copy()
    other = engine(picture(*size, seed=1))
    assert blur.values.shape == other.values.shape == size
    assert np.array_equal(blur.values, kept) and not np.shares_memory(blur.values, other.values)


@pytest.mark.parametrize(
    ("size", "long_side", "want"),
    [
        ((1280, 720), 480, (480, 256)),
        ((720, 1280), 480, (256, 480)),
        ((640, 427), 480, (480, 320)),
        ((161, 121), 480, (160, 128)),
        ((4000, 40), 320, (320, 32)),
    ],
)
def test_network_size(size, long_side, want):
    assert network_size(size, long_side) == want


def test_stream_keeps_order_over_changing_sizes(model):
    engine = Engine(EngineSettings(model, "cpu", backend="openvino"))
    images = [picture(64, 64, 1), picture(64, 64, 2), picture(64, 96, 3), picture(64, 64, 4)]
    results = list(engine.stream(Frames(images), depth=2))
    assert [frame.index for frame, _ in results] == [0, 1, 2, 3]
    for (frame, blur), image in zip(results, images, strict=True):
        assert blur.values.shape == image.shape[:2]  # that of the network is the same
        assert np.array_equal(blur.values, engine(image).values), frame.index


class Failing:
    """A backend that fails or gives NaN from a certain frame on."""

    name, depth = "failing", 2

    def __init__(self, size, *, at=0, nan=False, late=False):
        self.size, self.at, self.nan, self.late, self.count = size, at, nan, late, 0

    def start(self, image):
        number, self.count = self.count, self.count + 1
        values = np.full((self.size[1], self.size[0]), 0.25, np.float32)
        if number >= self.at and self.nan:
            values[0, 0] = np.nan
        fails = number >= self.at and not self.nan
        if fails and not self.late:
            raise RuntimeError("device lost\nlong trace")

        def finish():
            if fails:
                raise RuntimeError("device lost later")
            return values

        return finish

    def close(self):
        pass


def failing_unless_exact(make, **failing):
    def instead(spec, size, *, depth, any_frame=False):
        return make(spec, size, depth=depth) if spec == REFERENCE else Failing(size, **failing)

    return instead


@pytest.mark.parametrize("late", [False, True])
def test_a_failing_backend_falls_back_without_losing_a_frame(model, monkeypatch, late):
    engine = Engine(EngineSettings(model, "cpu", backend="openvino", precision="fp32"))
    make = engine.factory.on_cpu
    monkeypatch.setattr(engine.factory, "on_cpu", failing_unless_exact(make, at=2, late=late))
    results = list(engine.stream(Frames([picture(seed=s) for s in range(6)]), depth=2))
    assert [frame.index for frame, _ in results] == list(range(6))
    reference = Engine(EngineSettings(model, "cpu", backend="torch"))
    last = results[-1][1].at((120, 90))
    assert np.array_equal(last.values, reference(picture(seed=5)).values)
    assert len(engine.notices) == 1 and "device lost" in engine.notices[0]
    assert "\n" not in engine.notices[0]


def test_a_backend_that_cannot_start_falls_back(model, monkeypatch):
    engine = Engine(EngineSettings(model, "cpu", backend="openvino", precision="fp32"))
    make = engine.factory.on_cpu

    def refuse(spec, size, *, depth, any_frame=False):
        if spec != REFERENCE:
            raise RuntimeError("no kernel")
        return make(spec, size, depth=depth)

    monkeypatch.setattr(engine.factory, "on_cpu", refuse)
    assert engine(picture()).values.shape == (90, 120)
    assert engine.notices == ["openvino fp32 failed (no kernel): computing with PyTorch"]


def test_the_last_backend_failing_is_a_compute_error(model, monkeypatch):
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    failing = Failing((128, 96))
    failing.name = "torch fp32"
    monkeypatch.setattr(engine.factory, "on_cpu", lambda spec, size, **how: failing)
    with pytest.raises(ComputeError, match="device lost"):
        engine(picture())


def test_a_stream_left_early_gives_its_slots_back(model):
    engine = Engine(EngineSettings(model, "cpu", backend="openvino"))
    images = [picture(64, 64, seed) for seed in range(5)]
    for _ in range(3):
        stream = engine.stream(Frames(images), depth=2)
        next(stream)
        stream.close()
    assert len(list(engine.stream(Frames(images), depth=2))) == 5


def test_an_error_of_the_source_comes_after_the_frames_before_it(model):
    def images():
        yield from (picture(64, 64, seed) for seed in range(3))
        raise OSError("cable")

    engine = Engine(EngineSettings(model, "cpu", backend="openvino"))
    stream = engine.stream(Frames(images()), depth=2)
    assert [next(stream)[0].index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="cable"):
        next(stream)


FIXED = {"device": "cpu", "backend": "openvino", "precision": "fp32"}


def test_an_unwritable_cache_costs_time_and_nothing_else(model, monkeypatch):
    monkeypatch.setenv("BR2FOCUS_CACHE", "/proc/nowhere")
    engine = Engine(EngineSettings(model, **FIXED))
    assert engine(picture(64, 64)).values.shape == (64, 64)
    assert "openvino" in engine.device and not engine.notices


def test_a_damaged_cache_entry_is_made_anew(model, monkeypatch, tmp_path, cache_folder):
    want = Engine(EngineSettings(model, **FIXED))(picture(64, 64)).values
    monkeypatch.setenv("BR2FOCUS_CACHE", str(tmp_path))
    graph = tmp_path / f"{graph_key(checkpoint.find(model)[1], library().__version__)}.xml"
    assert (cache_folder / graph.name).exists(), "as for every run with this model"
    graph.write_text("<net>")
    for _ in range(2):
        engine = Engine(EngineSettings(model, **FIXED))
        assert np.array_equal(engine(picture(64, 64)).values, want)
        assert "openvino" in engine.device and not engine.notices
    assert graph.stat().st_size > 1000
    [blob] = (tmp_path / "compiled").glob("*.blob")
    for damaged in (b"", blob.read_bytes()[:-9], b"0" * 100):
        blob.write_bytes(damaged)
        assert np.array_equal(Engine(EngineSettings(model, **FIXED))(picture(64, 64)).values, want)
        assert blob.stat().st_size > 1000


def test_thin_pictures_stay_small(model):
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    thin = np.zeros((2, 20_000, 3), np.uint8)
    assert engine(thin).values.shape == (2, 20_000)
    assert max(engine._backends._backends)[0] == (128, 32)


def test_nan_is_redone_exactly_and_then_given_up_on(model, monkeypatch):
    engine = Engine(EngineSettings(model, "cpu", backend="openvino", precision="fp32"))
    make = engine.factory.on_cpu
    monkeypatch.setattr(engine.factory, "on_cpu", failing_unless_exact(make, at=1, nan=True))
    reference = Engine(EngineSettings(model, "cpu", backend="torch"))
    maps = [engine(picture(seed=s)).values for s in range(6)]
    assert np.allclose(maps[0], 0.25)
    for seed in range(1, 6):
        assert np.array_equal(maps[seed], reference(picture(seed=seed)).values)
    assert len(engine.notices) == 1 and "not finite" in engine.notices[0]
    assert "torch fp32" in engine.device
    other = picture(160, 64)
    assert np.array_equal(engine(other).values, reference(other).values)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x"])
def test_unknown_device_is_a_compute_error(model, device):
    with pytest.raises(ComputeError, match="no device"):
        Engine(EngineSettings(model, device))


def test_unknown_model_and_size_are_said(model):
    with pytest.raises(CheckpointError, match="no model 'nothing'"):
        Engine(EngineSettings("nothing"))
    with pytest.raises(ValueError, match="64 to 2048"):
        EngineSettings(model, size=10)


def test_engine_can_be_used_after_close(model):
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    first = engine(picture()).values
    engine.close()
    assert np.array_equal(first, engine(picture()).values)


def test_the_choice_is_measured_with_one_frame_at_a_time(model, monkeypatch, tmp_path):
    monkeypatch.setenv("BR2FOCUS_CACHE", str(tmp_path))
    depths = []

    class Watched(Failing):
        def __init__(self, size, depth):
            super().__init__(size, at=10**9)
            depths.append(depth)

    engine = Engine(EngineSettings(model, "cpu"))
    monkeypatch.setattr(engine.factory, "on_cpu", lambda spec, size, depth, **how: Watched(size, depth))
    list(engine.stream(Frames([picture()]), depth=3))
    assert depths[-1] == 3 and set(depths[:-1]) == {1}, "other depths give other times"


def test_ranges_of_another_network_are_said(model, tmp_path):
    net, info = checkpoint.load(Path(model))
    path = tmp_path / "net.safetensors"
    checkpoint.save(net, replace(info, ranges={"l2h.9.enter": (0.0, 1.0)}), path)
    engine = Engine(EngineSettings(str(path), "cpu", backend="openvino", precision="fp32"))
    with pytest.raises(CheckpointError, match="other layers.*calibrate"):
        engine(picture())
