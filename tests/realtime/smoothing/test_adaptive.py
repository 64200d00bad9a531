"""Adaptive smoothing: flicker decays, changes are followed at once, along the motion, at every frame rate."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.smoothing.adaptive import AdaptiveSmoother

SIZE = (160, 96)


def texture(shift: int = 0, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 BGR, smooth noise moved to the right by ``shift`` pixels."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 255, (height, width + 200, 3)).astype(np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return np.ascontiguousarray(wide[:, 100 - shift : 100 - shift + width])


def frame(image: np.ndarray, index: int, rate: int = 30) -> Frame:
    return Frame(image.copy(), index, index, Fraction(1, rate), 0.0)


def full(value: float) -> BlurMap:
    return BlurMap(np.full((SIZE[1], SIZE[0]), value, np.float32))


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_flicker_decays(rate):
    rng, smooth, image = np.random.default_rng(1), AdaptiveSmoother(), texture()
    given, shown = [], []
    for index in range(2 * rate):
        value = float(np.clip(0.5 + rng.normal(0, 0.02), 0, 1))
        given.append(value)
        shown.append(float(smooth(frame(image, index, rate), full(value)).values.mean()))
    assert np.std(shown[rate:]) < 0.4 * np.std(given[rate:])


@pytest.mark.parametrize("step", [0.02, 0.05, 0.5])
def test_a_change_of_focus_is_followed_within_two_frames(step):
    smooth, image, value = AdaptiveSmoother(), texture(), 0.1
    for index in range(20):
        smooth(frame(image, index), full(value))
    late = []
    for index in range(20, 40):
        value = min(value + step, 0.9)
        shown = float(smooth(frame(image, index), full(value)).values.mean())
        late.append((value - shown) / step)
    assert max(late) < 3 and late[-1] < 1.5
    assert np.mean(late[5:]) < 1.5, "frames"


@pytest.mark.parametrize("refocused", [True, False])
def test_a_small_change_is_taken_at_once_where_the_picture_says_so(refocused):
    smooth, image = AdaptiveSmoother(), texture()
    for index in range(20):
        smooth(frame(image, index), full(0.2))
    softer = cv2.GaussianBlur(image, (0, 0), 1) if refocused else image
    shown = float(smooth(frame(softer, 20), full(0.26)).values.mean())
    assert shown == pytest.approx(0.26, abs=0.005) if refocused else shown < 0.22


def test_maps_settle_after_a_pull_before_they_are_averaged():
    smooth, image = AdaptiveSmoother(), texture()
    for index in range(20):
        smooth(frame(image, index), full(0.2))
    softer = cv2.GaussianBlur(image, (0, 0), 1)
    smooth(frame(softer, 20), full(0.26))
    for index, value in enumerate((0.28, 0.27, 0.29, 0.28), 21):
        shown = float(smooth(frame(softer, index), full(value)).values.mean())
        assert shown == pytest.approx(value, abs=0.005)


def test_motion_is_no_pull():
    """A third of the picture loses its detail: a thing that moved, not the focus."""
    smooth, image = AdaptiveSmoother(), texture()
    for index in range(20):
        smooth(frame(image, index), full(0.2))
    partly = image.copy()
    partly[:, :50] = cv2.GaussianBlur(image, (0, 0), 1)[:, :50]
    assert float(smooth(frame(partly, 20), full(0.26)).values.mean()) < 0.23


def test_a_first_map_a_cut_a_gap_and_another_size_begin_anew():
    smooth, image = AdaptiveSmoother(), texture()
    assert smooth(frame(image, 0), full(0.9)).values.mean() == pytest.approx(0.9)
    dark = np.zeros_like(image)
    assert smooth(frame(dark, 1), full(0.5)).values.mean() == pytest.approx(0.5)
    assert smooth(frame(dark, 100), full(0.52)).values.mean() == pytest.approx(0.52)
    assert smooth(frame(dark, 100), full(0.5)).values.mean() == pytest.approx(0.5), "no time"
    other = BlurMap(np.full((48, 80), 0.51, np.float32))
    result = smooth(frame(texture(size=(80, 48)), 101), other)
    assert result.values.shape == (48, 80) and result.values.mean() == pytest.approx(0.51)
    smooth.reset()
    assert smooth.delay == 0


def test_the_average_moves_with_the_picture():
    """A sharp thing that moves 3 pixels a frame; its map has noise of its own in every frame."""
    rng, smooth = np.random.default_rng(2), AdaptiveSmoother()
    errors, raw = [], []
    for index in range(25):
        blur = np.ones((SIZE[1], SIZE[0]), np.float32)
        x = 20 + 3 * index
        blur[30:70, x : x + 40] = 0
        blur = cv2.GaussianBlur(blur, (0, 0), 4)
        noisy = np.clip(blur + rng.normal(0, 0.02, blur.shape), 0, 1).astype(np.float32)
        shown = smooth(frame(texture(3 * index), index), BlurMap(noisy)).values
        if index > 8:
            errors.append(np.abs(shown - blur).mean())
            raw.append(np.abs(noisy - blur).mean())
    assert np.mean(errors) < np.mean(raw)


def test_the_delay_is_told_where_something_changes():
    smooth, image = AdaptiveSmoother(), texture()
    for index in range(10):
        smooth(frame(image, index), full(0.2))
    assert smooth.delay == 0, "nothing changes"
    for index in range(10, 20):  # half of it goes up, half of it down: no trend, only distance
        smooth(frame(image, index), full(0.2 + (0.09 if index % 2 else 0.03)))
        assert 0 <= smooth.delay < 0.4
    smooth(frame(image, 20), full(0.43))
    assert smooth.delay > 0.1, "one frame alone proves nothing"
    values = smooth(frame(image, 21), full(0.43)).values
    assert smooth.delay < 0.01 and values.mean() == pytest.approx(0.43, abs=0.02)
    values = smooth(frame(image, 22), full(0.95)).values
    assert smooth.delay < 0.01 and values.mean() == pytest.approx(0.95, abs=0.02), "by so much it does"


def test_what_is_undecided_counts_less():
    smooth, image = AdaptiveSmoother(), texture()
    for index in range(20):
        shown = smooth(frame(image, index), full(0.5 if index % 2 else 0.55)).values
    assert shown.mean() > 0.53


def test_maps_stay_maps_on_odd_sizes():
    for size in ((1, 1), (3, 2), (37, 1001)):
        smooth = AdaptiveSmoother()
        for index in range(4):
            image = np.full((size[1], size[0], 3), 10 * index, np.uint8)
            blur = np.random.default_rng(index).random((size[1], size[0])).astype(np.float32)
            assert smooth(frame(image, index), BlurMap(blur)).values.shape == (size[1], size[0])
