"""Training a network with ``detail``: crops with their frames, the losses of radii, and an exact resume."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.detail import Blur
from br2focus.models.evaluation.masks import Sample
from br2focus.models.limits import tolerance
from br2focus.models.rendering.native import NativeScene
from br2focus.models.training.augment import CERTAIN, AugmentConfig, native_crop, shown
from br2focus.models.training.config import TrainingConfig, identity_settings, read_config
from br2focus.models.training.losses import radius_loss, reference, softness_loss
from br2focus.models.training.run import Trainer
from br2focus.models.training.start import start_network

PLAIN = AugmentConfig(crop=32, colour=0, noise=0, jpeg=100)


@pytest.fixture
def detail_config(config_path: Path, root: Path, tmp_path: Path) -> TrainingConfig:
    """The tiny run with evidence and scenes of its own, four of them."""
    picture = np.random.default_rng(5).integers(0, 256, (160, 200, 3), np.uint8)
    cv2.imwrite(str(root / "photo.png"), cv2.GaussianBlur(picture, (0, 0), 1))
    (tmp_path / "photos.txt").write_text("photo.png\n")
    text = config_path.read_text().replace("h2l_tap = 2", 'h2l_tap = 2\ndetail = "learned"')
    scenes = f'[native]\nshare = 0.5\ncount = 4\nphotos = "photos.txt"\nfolder = "{tmp_path}/scenes"\n'
    config_path.write_text(text.replace("[augment]\ncrop = 64", f"{scenes}\n[augment]\ncrop = 32"))
    return replace(read_config(config_path), iterations=4, save_every=2, validate_every=4)


def sample(height: int = 60, width: int = 90) -> Sample:
    image = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.bool_)
    mask[:, width // 2 :] = True
    return Sample(image, mask, np.ones_like(mask))


def test_a_crop_comes_with_its_frame_s_pixels() -> None:
    ratios = set()
    for seed in range(20):
        crop = native_crop(sample(), PLAIN, 60, np.random.default_rng(seed))
        assert crop.sample.image.shape == (32, 32, 3) and crop.sample.mask.shape == (32, 32)
        assert crop.luma is not None and crop.luma.shape[0] == crop.luma.shape[1] >= 32
        assert math.isnan(crop.softness) and 54 <= crop.width <= 90
        ratios.add(crop.luma.shape[0])
        small = cv2.resize(crop.luma, (32, 32), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(crop.sample.image, cv2.COLOR_BGR2GRAY)
        assert np.abs(small.astype(int) - gray).mean() < 3
    assert len(ratios) > 3, "the network sees frames of several sizes"


def test_what_lies_beyond_the_picture_has_no_label() -> None:
    crop = native_crop(sample(20, 90), PLAIN, 90, np.random.default_rng(0))
    assert crop.sample.valid[:5].all() and not crop.sample.valid[24:].any()


def test_a_scene_is_labelled_by_its_radius() -> None:
    allowed = tolerance(1280, 0.5)
    radius = np.full((32, 32), 0.9 * allowed, np.float16)
    radius[:, 8:16], radius[:, 16:24] = 1.1 * allowed, 1.1 * CERTAIN * allowed
    radius[:, 24:] = np.nan
    image = np.random.default_rng(0).integers(0, 256, (85, 85, 3), np.uint8)
    scene = NativeScene(image, radius, 0.5, 1280)
    sides = set()
    for seed in range(6):
        crop = shown(scene, PLAIN, np.random.default_rng(seed))
        mirrored = bool(np.isnan(crop.radius[0, 0]))
        turn = slice(None, None, -1) if mirrored else slice(None)
        mask, valid = crop.sample.mask[:, turn], crop.sample.valid[:, turn]
        assert valid[0].tolist() == [True] * 8 + [False] * 8 + [True] * 8 + [False] * 8
        assert not mask[:, :8].any() and mask[:, 16:24].all()
        sides.add(mirrored)
    assert sides == {True, False}


def some_blur(radius: float, gain: float = 5.0) -> Blur:
    plane = torch.full((1, 1, 4, 4), math.log(radius))
    return Blur(plane, torch.full_like(plane, gain), torch.zeros(1))


def test_the_loss_is_least_at_the_true_radius() -> None:
    limits = torch.linspace(math.log(0.5), math.log(40), 25)
    softness, radius = torch.tensor([1.0]), torch.full((1, 1, 8, 8), 3.0)
    true = math.hypot(3, 1)
    losses = {
        factor: float(radius_loss(some_blur(true * factor), radius, softness, limits))
        for factor in (0.5, 0.8, 1.0, 1.25, 2.0)
    }
    assert min(losses, key=losses.__getitem__) == 1.0
    unknown = torch.full_like(radius, math.nan)
    assert float(radius_loss(some_blur(9.0), unknown, softness, limits)) == 0
    assert float(radius_loss(some_blur(9.0), radius, torch.tensor([math.nan]), limits)) == 0


def test_a_thin_thing_counts_wherever_it_lies() -> None:
    limits = torch.tensor([])
    losses = []
    for row in (2, 3):
        radius = torch.full((1, 1, 8, 8), 6.0)
        radius[:, :, row], radius[:, :, 6:] = 1.0, math.nan
        blur = some_blur(math.hypot(6, 1))
        blur.log_radius[:, :, 1] = math.log(math.hypot(1, 1))
        losses.append(float(radius_loss(blur, radius, torch.tensor([1.0]), limits)))
    assert losses == pytest.approx([0, 0], abs=1e-6)


def test_softness_counts_where_it_is_known() -> None:
    log_softness = torch.tensor([0.5, 0.0], requires_grad=True)
    nothing = torch.tensor([math.nan, math.nan])
    assert float(softness_loss(log_softness.detach(), nothing)) == 0
    softness_loss(log_softness, torch.tensor([math.nan, 2.0])).backward()  # type: ignore[no-untyped-call]
    assert log_softness.grad is not None and log_softness.grad.tolist()[0] == 0
    assert log_softness.grad[1] < 0


def test_a_picture_is_judged_by_the_sharpest_that_it_has() -> None:
    width = torch.tensor([1920.0])
    plane = torch.full((1, 1, 10, 10), math.log(20.0))
    plane[:, :, :2] = math.log(1.5)
    voted, most = torch.tensor([math.log(0.6)], requires_grad=True), math.log(1920 / 550)
    assert Blur(plane, plane, voted).reference(width).item() == pytest.approx(math.log(1.5))
    assert Blur(plane + 2, plane, voted).reference(width).item() == pytest.approx(most)
    softer = Blur(plane, plane, voted + 1).reference(width)
    softer.backward()  # type: ignore[no-untyped-call]
    assert softer.item() == pytest.approx(math.log(0.6) + 1) and voted.grad == 1


def test_the_reference_is_told_half_of_the_time() -> None:
    own, known = torch.tensor([0.1, 0.1, 0.1]), torch.tensor([2.0, 2.0, math.nan])
    found = reference(own, known, torch.tensor([True, False, True]))
    assert torch.allclose(found, torch.tensor([math.log(2.0), 0.1, 0.1]))


def test_a_run_with_scenes_resumes_exactly(detail_config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    whole = Trainer(detail_config, root, tmp_path / "whole")
    path = whole.run()
    assert path is not None and len(list((tmp_path / "scenes").glob("*/*.npz"))) > 0

    stopped = Trainer(detail_config, root, tmp_path / "parts")
    assert stopped.run(lambda event: event["iteration"] == 2) is None
    again = Trainer(detail_config, root, tmp_path / "parts")
    assert again.iteration == 2
    resumed = again.run()
    assert resumed is not None and resumed.read_bytes() == path.read_bytes()
    net, info = checkpoint.load(path)
    assert info.config.detail == "learned" and hasattr(net, "detail")


def test_where_scenes_are_kept_is_no_part_of_a_run(detail_config: TrainingConfig) -> None:
    assert detail_config.native is not None
    moved = replace(detail_config, native=replace(detail_config.native, folder=Path("elsewhere")))
    more = replace(detail_config, native=replace(detail_config.native, count=5))
    assert identity_settings(moved) == identity_settings(detail_config) != identity_settings(more)


def test_scenes_need_a_network_with_detail(config_path: Path, detail_config: TrainingConfig) -> None:
    config_path.write_text(config_path.read_text().replace('"learned"', '"none"'))
    with pytest.raises(ValueError, match="native scenes are for a network with detail"):
        read_config(config_path)


def test_a_network_without_detail_is_a_start(detail_config: TrainingConfig, tmp_path: Path) -> None:
    config = replace(detail_config.network, detail="none")
    old = BR2Net(config).eval()
    path = tmp_path / "old.safetensors"
    checkpoint.save(old, ModelInfo("old", config), path)
    net = start_network(replace(detail_config, start=str(path)), tmp_path)
    assert torch.allclose(net.l2h_start.weight, old.l2h_start.weight, atol=1e-3)
    assert not any(conv.weight.any() for conv in net.detail.inject), "the evidence begins at 0"
    other = replace(config, width=9)
    checkpoint.save(BR2Net(other).eval(), ModelInfo("other", other), path)
    with pytest.raises(ValueError, match="another network"):
        start_network(replace(detail_config, start=str(path)), tmp_path)
