"""Refining and overlays on a GPU, from host memory and back; the same code on the CPU shows its results."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import torch

from br2focus.realtime.drawing import dispatch, overlay, overlay_gpu, refining, refining_gpu
from br2focus.realtime.drawing.gpu_renderer import REPEATED, GpuRenderer
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import BlurMap, Image

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
    gpu = GpuRenderer(device, said.append)
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
    gpu, style = GpuRenderer(device, said.append), overlay.OverlayStyle()
    for seed in range(2):
        image, values = picture(320, 240, seed), blur_map(320, 240, seed).values
        found = gpu.paint(kind, image, values, style).astype(int)
        wanted = overlay.paint(kind, image, values, style)
        assert (np.abs(found - wanted).max(2) > 2).mean() < 0.01
    assert not said


def test_what_fails_is_done_on_the_cpu_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory\nTried to allocate")

    monkeypatch.setattr(refining_gpu, "refine", full)
    monkeypatch.setattr(overlay_gpu, "heat", full)
    said: list[str] = []
    gpu, image, blur = GpuRenderer("cpu", said.append), picture(64, 48), blur_map(64, 48)
    for _ in range(2):
        found = gpu.refine(image, blur, "best")
        assert np.array_equal(found.values, refining.refine(image, blur, "best").values)
        style = overlay.OverlayStyle()
        drawn = gpu.paint("heat", image, blur.values, style)
        assert np.array_equal(drawn, overlay.paint("heat", image, blur.values, style))
    assert said == ["cpu failed in refining or drawing (CUDA out of memory): now the CPU"]


@pytest.mark.needs_cuda
@pytest.mark.parametrize("kind", sorted(overlay.DRAW))
@pytest.mark.parametrize("mode", ["fast", "best"])
def test_what_comes_again_and_again_is_a_graph(mode: refining.RefineMode, kind: overlay.OverlayKind) -> None:
    gpu, style = GpuRenderer("cuda:0", print), overlay.OverlayStyle()
    for seed in range(2 * REPEATED):
        image, blur = picture(320, 240, seed), blur_map(96, 64, seed)
        fine, wanted = gpu.refine(image, blur, mode), refining.refine(image, blur, mode)
        assert np.abs(fine.values - wanted.values).max() < 0.03
        found = gpu.paint(kind, image, fine.values, style).astype(int)
        drawn = overlay.paint(kind, image, fine.values, style)
        assert (np.abs(found - drawn).max(2) > 2).mean() < 0.01
    assert len(gpu._graphs) == 2


def test_what_was_refined_is_drawn_without_another_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, image, blur = GpuRenderer("cpu", print), picture(64, 48), blur_map(32, 24)
    style = overlay.OverlayStyle()
    gpu.paint("heat", image, gpu.refine(image, blur, "fast").values, style)  # somebody draws
    fine = gpu.refine(image, blur, "fast")
    monkeypatch.setattr(gpu, "_up", None)
    drawn = gpu.paint("heat", image, fine.values, style).astype(int)
    assert np.abs(drawn - overlay.paint("heat", image, fine.values, style)).max() <= 2


@pytest.mark.parametrize("device", DEVICES)
def test_two_threads_and_many_sizes(device: str) -> None:
    said: list[str] = []
    gpu, style = GpuRenderer(device, said.append), overlay.OverlayStyle(stripes=True)
    worst: dict[str, float] = {}

    def refined() -> None:
        for seed in range(24):
            image, blur = picture(64 + 16 * (seed % 6), 48, seed), blur_map(32, 24, seed)
            found, wanted = gpu.refine(image, blur, "fast"), refining.refine(image, blur, "fast")
            off = float(np.abs(found.values - wanted.values).max())
            worst["refined"] = max(worst.get("refined", 0), off)

    def painted() -> None:
        for seed in range(24):
            image = picture(96, 64 + 16 * (seed % 6), seed)
            values = blur_map(96, 64 + 16 * (seed % 6), seed).values
            found = gpu.paint("peaking", image, values, style).astype(int)
            off = np.abs(found - overlay.paint("peaking", image, values, style)).max(2) > 2
            worst["painted"] = max(worst.get("painted", 0), float(off.mean()))

    threads = [threading.Thread(target=job) for job in (refined, painted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert worst["refined"] < 0.03 and worst["painted"] < 0.01 and not said
    gpu.release()
    assert not gpu._kept and not gpu._graphs


def test_without_a_gpu_nothing_is_chosen_for_one(model: str) -> None:
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    assert dispatch.refiner(engine) is refining.refine
    assert dispatch.painter(engine) is overlay.paint
