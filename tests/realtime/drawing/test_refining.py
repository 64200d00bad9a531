"""Edges of a map move to those of the picture; nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from br2focus.realtime.drawing import refining_gpu
from br2focus.realtime.drawing.refining import MODES, check_mode, refine
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap


def scene() -> tuple[np.ndarray, np.ndarray, BlurMap]:
    """A bright thing in focus before a dark blurred ground; its map is soft and 3 pixels off."""
    truth = np.ones((240, 320), np.float32)
    truth[60:180, 100:220] = 0
    image = np.where(truth[..., None] > 0.5, 40, 200).astype(np.uint8).repeat(3, 2)
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    soft = np.roll(cv2.GaussianBlur(truth, (0, 0), 5), 3, 1)
    return image, truth, BlurMap(np.ascontiguousarray(soft))


def wrong(blur: BlurMap, truth: np.ndarray) -> int:
    return int(((blur.values >= 0.5) != (truth >= 0.5)).sum())


def test_edges_move_to_the_pictures():
    image, truth, blur = scene()
    errors = [wrong(refine(image, blur, mode), truth) for mode in MODES]
    assert errors[0] == wrong(blur, truth)
    assert errors[2] <= errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("mode", ["fast", "best"])
@pytest.mark.parametrize("ground", [0.0, 0.5])
def test_only_edges_of_the_map_change(mode, ground):
    image, _, blur = scene()
    blur = BlurMap(ground + (1 - ground) * blur.values)
    refined = refine(image, blur, mode).values
    window = np.ones((9, 9), np.uint8)
    even = cv2.dilate(blur.values, window) - cv2.erode(blur.values, window) < 0.05
    inside = cv2.erode(even.astype(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
    assert 0.5 < inside.mean() < 0.95
    assert np.array_equal(refined[inside], blur.values[inside])
    assert refined.min() >= 0 and refined.max() <= 1


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_what_is_decided_stays_decided(mode):
    image, _, blur = scene()
    refined = refine(image, blur, mode).values
    for decided in (blur.values < 0.05, blur.values > 0.95):
        far = cv2.erode(decided.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
        assert far.any() and np.abs(refined - blur.values)[far].max() < 0.005


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_a_slow_slope_of_the_map_is_no_edge(mode):
    image, _, _ = scene()
    slope = np.ascontiguousarray(np.tile(np.linspace(0, 1, 320, dtype=np.float32), (240, 1)))
    assert np.array_equal(refine(image, BlurMap(slope), mode).values, slope)


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_no_focus_is_invented_where_the_picture_is_flat(mode):
    _, _, blur = scene()
    flat = np.full((240, 320, 3), 128, np.uint8)
    refined = refine(flat, blur, mode).values
    assert not ((refined < 0.5) & (blur.values > 0.7)).any()
    assert (refined < 0.5).sum() < 1.01 * (blur.values < 0.5).sum()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (161, 121)])
def test_the_form_for_a_gpu_gives_the_same(mode, size):
    image, _, blur = scene()
    image = cv2.resize(image, size)
    values = np.clip(cv2.resize(blur.values, size), 0, 1)
    wanted = refine(image, BlurMap(values), mode).values
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    found = refining_gpu.refine(rgb, torch.from_numpy(values.copy())[None, None], mode)[0, 0].numpy()
    difference = np.abs(found - wanted)  # the gray picture of OpenCV has whole levels
    assert difference.max() < 0.03 and difference.mean() < 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_a_map_of_the_networks_size_gives_what_its_enlargement_gives(mode):
    image, _, blur = scene()
    small = blur.at((96, 64))
    size = (image.shape[1], image.shape[0])
    found, wanted = refine(image, small, mode), refine(image, small.at(size), mode)
    assert found.values.shape == image.shape[:2]
    assert np.abs(found.values - wanted.values).mean() < 5e-3


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 700), (1921, 31)])
def test_every_size(size):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    blur = BlurMap(rng.random((size[1], size[0])).astype(np.float32))
    for mode in MODES:
        assert refine(image, blur, mode).values.shape == (size[1], size[0])


def test_off_is_the_map_itself_and_others_are_refused():
    image, _, blur = scene()
    assert refine(image, blur, "off") is blur
    with pytest.raises(SettingsError, match="off, fast, best"):
        check_mode("better")
