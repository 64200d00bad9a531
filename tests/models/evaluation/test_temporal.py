"""Figures in time, on maps whose figures are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from br2focus.models.evaluation.temporal import (
    flicker,
    jittered,
    lag_frames,
    mae_over_time,
    warp_errors,
)


def test_flicker_of_a_constant_map_is_none():
    assert flicker(np.full((10, 4, 4), 0.3)) == pytest.approx((0, 0))


def test_flicker_is_the_spread_and_what_crosses():
    maps = np.zeros((4, 1, 2))
    maps[:, 0, 0] = (0.3, 0.5, 0.3, 0.5)  # mean .4: the .5s are on the other side
    spread, crossing = flicker(maps)
    assert spread == pytest.approx(0.05) and crossing == pytest.approx(0.25)


def moving(count: int, step: int) -> np.ndarray:
    wide = np.random.default_rng(0).integers(0, 255, (64, 300, 3)).astype(np.uint8)
    wide = cv2.GaussianBlur(wide, (0, 0), 3)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return np.array([wide[:, 100 - step * t : 196 - step * t] for t in range(count)])


def test_a_map_that_moves_with_the_picture_has_no_warp_error():
    pictures = moving(6, 2)
    along = pictures[..., 0] / 255.0
    stays = np.repeat(along[:1], 6, 0)
    moves, rests, none = warp_errors([along, stays, np.full((6, 64, 96), 0.5)], pictures)
    assert moves < 0.1 * rests and none == 0


@pytest.mark.parametrize("late", [0, 1, 3])
def test_lag_is_the_delay_that_was_put_in(late: int):
    labels = np.array([np.full((4, 40), 0, np.uint8) for _ in range(40)])
    for t in range(40):
        labels[t, :, : min(2 * max(t - 8, 0), 40)] = 1
    maps = np.concatenate([np.repeat(labels[:1], late, 0), labels[: 40 - late]]).astype(float)
    assert lag_frames(maps, labels) == pytest.approx(late, abs=0.3)


def test_what_is_not_labelled_is_not_judged():
    labels = np.array([[[0, 1, 2]], [[2, 2, 2]]], np.uint8)
    maps = np.array([[[0.2, 0.6, 0.0]], [[1.0, 1.0, 1.0]]])
    assert mae_over_time(maps, labels) == pytest.approx((0.3 + 0.0) / 2)


def test_jittered_stills_have_the_noise_that_was_asked_for():
    still = np.full((40, 60, 3), 100, np.uint8)
    images = jittered(still, 20, sigma=3.0, shift=0.5)
    assert len(images) == 20 and np.std(np.array(images, float)) == pytest.approx(3, abs=0.1)
    assert np.array_equal(images[0], jittered(still, 1, sigma=3.0, shift=0.5)[0])
