"""Refining and overlays on a GPU, from host memory and back; the same code on the CPU shows its results."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from br2focus.realtime import finishing, overlay, overlay_gpu, refining, refining_gpu
from br2focus.realtime.engine import Engine, EngineSettings
from br2focus.realtime.frame import BlurMap, Image
from br2focus.realtime.on_gpu import OnGpu

DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.needs_cuda)]


def picture(width: int, height: int, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    image.flags.writeable = False  # as in a frame
    return image


def blur_map(width: int, height: int, seed: int = 0) -> BlurMap:
    values = np.random.default_rng(seed).random((5, 7)).astype(np.float32)
    return BlurMap(np.clip(cv2.resize(values, (width, height)), 0, 1))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", refining.MODES)
def test_maps_are_refined_as_on_the_cpu(device: str, mode: refining.RefineMode) -> None:
    said: list[str] = []
    gpu = OnGpu(device, said.append)
    for seed, (width, height) in enumerate([(320, 240), (320, 240), (161, 121)]):
        image, blur = picture(width, height, seed), blur_map(96, 64, seed)
        found, wanted = gpu.refine(image, blur, mode), refining.refine(image, blur, mode)
        difference = np.abs(found.values - wanted.values)
        assert difference.max() < 0.03 and difference.mean() < 1e-3
    assert not said


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", sorted(overlay.DRAW))
def test_overlays_are_painted_as_on_the_cpu(device: str, kind: overlay.OverlayKind) -> None:
    said: list[str] = []
    gpu, style = OnGpu(device, said.append), overlay.OverlayStyle()
    for seed in range(2):
        image, values = picture(320, 240, seed), blur_map(320, 240, seed).values
        found = gpu.paint(kind, image, values, style).astype(int)
        wanted = overlay.paint(kind, image, values, style)
        assert (np.abs(found - wanted).max(2) > 2).mean() < 0.01
    assert not said


def test_what_fails_is_done_on_the_cpu_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory\nTried to allocate")

    monkeypatch.setattr(refining_gpu, "refine", full)
    monkeypatch.setattr(overlay_gpu, "heat", full)
    said: list[str] = []
    gpu, image, blur = OnGpu("cpu", said.append), picture(64, 48), blur_map(64, 48)
    for _ in range(2):
        found = gpu.refine(image, blur, "best")
        assert np.array_equal(found.values, refining.refine(image, blur, "best").values)
        style = overlay.OverlayStyle()
        drawn = gpu.paint("heat", image, blur.values, style)
        assert np.array_equal(drawn, overlay.paint("heat", image, blur.values, style))
    assert said == ["cpu failed in refining or drawing (CUDA out of memory): now the CPU"]


def test_without_a_gpu_nothing_is_chosen_for_one(model: str) -> None:
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    assert finishing.refiner(engine) is refining.refine
    assert finishing.painter(engine) is overlay.paint
