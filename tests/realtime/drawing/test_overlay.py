"""Overlays on tiny pictures, and the GPU forms against the OpenCV forms."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from br2focus.realtime import bands
from br2focus.realtime.drawing import overlay, overlay_gpu
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.overlay_style import GROUNDS, KINDS, OverlayStyle
from br2focus.realtime.result import FocusResult

STYLE = OverlayStyle(legend=False)


@pytest.fixture
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.fixture
def blur() -> np.ndarray:
    return np.tile(np.linspace(0, 1, 120, dtype=np.float32), (90, 1))


def result(picture: np.ndarray, blur: np.ndarray) -> FocusResult:
    return FocusResult(Frame(picture, 0, 0, Fraction(1, 30), 0.0), BlurMap(blur), model="lite")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_picture_and_its_height(picture, blur, kind):
    before = picture.copy()
    drawn = overlay.draw(result(picture, blur), kind, OverlayStyle())
    width = 240 if kind == "side-by-side" else 120
    assert drawn.shape == (90, width, 3) and drawn.dtype == np.uint8
    assert np.array_equal(picture, before)


def test_none_is_the_picture_itself(picture, blur):
    assert overlay.draw(result(picture, blur), "none") is picture


def test_unknown_kind_names_the_known(picture, blur):
    with pytest.raises(ValueError, match="peaking, heat"):
        overlay.draw(result(picture, blur), "fog")  # type: ignore[arg-type]


def test_heat_is_yellow_in_focus_and_violet_blurred(picture, blur):
    drawn = overlay.heat(picture, blur, OverlayStyle(opacity=1))
    sharp, blurred = drawn[0, 0].astype(int), drawn[0, -1].astype(int)
    assert sharp[1] > 200 and sharp[2] > 200 and sharp[0] < 100
    assert blurred[1] < 50 and blurred[0] > blurred[1]


def test_mask_changes_only_what_is_blurred(picture, blur):
    drawn = overlay.mask(picture, blur, STYLE)
    focused = blur < 0.5
    assert np.array_equal(drawn[focused], picture[focused])
    assert drawn[~focused].mean() < 0.9 * picture[~focused].mean()


def test_peaking_needs_an_edge_and_focus():
    step = np.zeros((20, 40, 3), np.uint8)
    step[:, 10:] = 200
    step[:, 30:] = 0
    blur = np.zeros((20, 40), np.float32)
    blur[:, 20:] = 1
    peaked = (overlay.peaking(step, blur, STYLE) == STYLE.colour).all(2)
    assert peaked[:, 9:11].all()
    assert not peaked[:, 20:].any() and not peaked[:, :8].any()


def test_gradient_of_a_ramp_is_its_slope():
    ramp = np.repeat(np.arange(0, 60, 3, dtype=np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    assert np.allclose(overlay.edges(ramp)[2:-2, 2:-2], 3)


def test_stripes_are_dark_on_half_of_the_peaked(picture):
    sharp = np.zeros(picture.shape[:2], np.float32)
    style = OverlayStyle(threshold=0.001, stripes=True)
    drawn = overlay.peaking(picture, sharp, style)
    dark = (drawn == 0).all(2).mean()
    assert 0.4 < dark < 0.6


def test_outline_runs_between_focus_and_blur(picture, blur):
    drawn = overlay.outline(picture, blur, STYLE)
    changed = (drawn != picture).any(2).any(0)
    assert changed[60:64].all() and not changed[:60].any() and not changed[64:].any()


def test_legend_shows_the_model_and_stays_off_tiny_pictures(picture, blur):
    big = np.zeros((720, 1280, 3), np.uint8)
    sharp = np.zeros(big.shape[:2], np.float32)
    with_legend = overlay.draw(result(big, sharp), "outline", OverlayStyle())
    assert with_legend[-60:, :300].any()
    tiny = np.zeros((2, 2, 3), np.uint8)
    drawn = overlay.draw(result(tiny, np.ones((2, 2), np.float32)), "heat", OverlayStyle())
    assert drawn.shape == (2, 2, 3)


def test_stronger_edges_are_brighter_with_more_levels():
    steps = np.zeros((20, 90, 3), np.uint8)
    steps[:, 20:] = 40
    steps[:, 45:] = 110
    steps[:, 70:] = 230
    sharp = np.zeros(steps.shape[:2], np.float32)
    style = OverlayStyle(levels=3, threshold=12)
    drawn = overlay.peaking(steps, sharp, style)[10]
    shades = [style.shade(level) for level in range(3)]
    assert [tuple(drawn[column].tolist()) for column in (20, 45, 70)] == shades
    assert sum(shades[0]) < sum(shades[1]) < sum(shades[2]) and shades[2] == style.colour
    assert style.shade(2) == OverlayStyle().shade(0) == style.colour


@pytest.mark.parametrize("kind", ["peaking", "heat", "mask", "outline"])
def test_the_ground_is_the_picture_gray_or_black(picture, blur, kind):
    style = OverlayStyle(threshold=200, opacity=0.5)
    grounds = [overlay.DRAW[kind](picture, blur, replace(style, ground=g)) for g in GROUNDS]
    on_colour, on_gray, alone = (drawn[:, :50].astype(int) for drawn in grounds)
    if kind == "heat":
        assert on_colour.mean() > alone.mean()
    else:
        assert np.array_equal(on_colour, picture[:, :50])
        assert (np.ptp(on_gray, axis=2) == 0).all()
        assert not alone.any() or kind == "mask"
    assert not np.array_equal(on_colour, on_gray)


@pytest.mark.parametrize("sigma", [0, 2, 4, 8, 12])
def test_noise_is_measured_and_is_not_peaked(sigma):
    rng = np.random.default_rng(3)
    coarse = cv2.resize(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8), (320, 240))
    wall = np.tile(np.linspace(80, 160, 160)[None, :, None], (240, 1, 3))
    still = np.hstack([coarse[:, :160], wall])
    noisy = np.clip(still + rng.normal(0, sigma, still.shape), 0, 255).astype(np.uint8)
    luma = sigma * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    half = np.zeros((240, 320), np.float32)
    half[:, 160:] = 1
    assert overlay.noise(noisy, half) == pytest.approx(luma, abs=0.3)
    all_sharp = np.zeros_like(half)
    style = OverlayStyle(threshold=2, noise_gate=4)
    threshold = overlay.peaking_threshold(noisy, half, style)
    assert (overlay.edges(noisy)[:, 160:] >= threshold).mean() < 0.01
    if sigma >= 4:
        peaked = (overlay.edges(noisy)[:, 160:] >= style.threshold).mean()
        assert peaked > 0.1, "without the gate it would be"
        assert overlay.noise(noisy, all_sharp) < 3 * luma


@pytest.mark.parametrize(
    "wrong",
    [
        {"opacity": 1.5},
        {"threshold": 0},
        {"levels": 4},
        {"levels": 0},
        {"ground": "blue"},
        {"noise_gate": -1},
        {"colour": (0, 0, 256)},
        {"threshold": float("nan")},
    ],
)
def test_a_style_checks_itself(wrong):
    with pytest.raises(SettingsError):
        OverlayStyle(**wrong)


STYLES = [
    OverlayStyle(),
    OverlayStyle(stripes=True),
    OverlayStyle(levels=3, threshold=6),
    OverlayStyle(ground="gray"),
    OverlayStyle(ground="alone", noise_gate=0),
]


@pytest.mark.parametrize("style", STYLES, ids=["default", "stripes", "levels", "gray", "alone"])
@pytest.mark.parametrize("kind", sorted(overlay.DRAW))
def test_gpu_form_equals_opencv_form(picture, blur, kind, style):
    rgb = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    theirs = getattr(overlay_gpu, kind.replace("-", "_"))(rgb, torch.from_numpy(blur)[None, None], style)
    theirs = (theirs[0].permute(1, 2, 0).numpy()[:, :, ::-1] * 255).round()
    ours = overlay.DRAW[kind](picture, blur, style)
    differs = np.abs(ours - theirs).max(2)
    # A gradient that lies on the threshold may fall to either side; levels round to either side.
    assert (differs > 2).mean() < 0.005 * style.levels


@pytest.mark.parametrize("style", STYLES, ids=["default", "stripes", "levels", "gray", "alone"])
@pytest.mark.parametrize("kind", sorted(overlay.DRAW))
def test_bands_leave_no_seam(picture, blur, kind, style, monkeypatch):
    whole = overlay.DRAW[kind](picture, blur, style)
    for band in (1, 7, 64):
        monkeypatch.setattr(bands, "BAND", band)
        assert np.array_equal(overlay.DRAW[kind](picture, blur, style), whole)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2), (3, 3)])
def test_the_smallest_pictures_have_overlays_too(size):
    picture = np.full((*size, 3), 128, np.uint8)
    blur = np.full(size, 0.8, np.float32)
    assert overlay.noise(picture, blur) == 0
    for kind in overlay.DRAW:
        assert len(overlay.DRAW[kind](picture, blur, OverlayStyle(strongest=0.5))) == size[0]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_at_most_the_strongest_share_is_peaked(share):
    picture = np.random.default_rng(3).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    blur = np.zeros((240, 320), np.float32)
    blur[:, :160] = 1  # stronger edges there do not count
    picture[:, 160:] //= 4
    style = OverlayStyle(noise_gate=0, threshold=0.01, strongest=share, ground="alone")
    peaked = overlay.peaking(picture, blur, style).any(2)
    assert not peaked[:, :160].any()
    assert peaked[:, 160:].mean() == pytest.approx(share, abs=0.02)
    strength = overlay.edges(picture)[:, 160:]
    assert strength[peaked[:, 160:]].min() >= strength[~peaked[:, 160:]].max()


def test_a_share_lowers_no_threshold():
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for blur in (np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)):
        for threshold in (1.0, 500.0):
            style = OverlayStyle(noise_gate=0, threshold=threshold, strongest=0.3)
            assert overlay.peaking_threshold(picture, blur, style) >= threshold


def test_a_share_is_the_same_on_a_gpu():
    picture = np.random.default_rng(3).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    blur = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (96, 1))
    style = OverlayStyle(strongest=0.2, threshold=1.0)
    rgb = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1)[None] / 255
    found = overlay_gpu.peaking_threshold(rgb, torch.from_numpy(blur)[None, None], style)
    assert found.item() == pytest.approx(overlay.peaking_threshold(picture, blur, style), rel=0.02)


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="strongest"):
        OverlayStyle(strongest=share)
