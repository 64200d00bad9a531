"""Procedural pictures: the same again, in range, sharp, and with detail at every scale."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from br2focus.models.rendering.textures import TEXTURES, Pixels, draw_picture, draw_texture, fractal


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def detail(image: Pixels) -> float:
    return float(np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean())


@pytest.mark.parametrize("kind", TEXTURES)
def test_is_a_picture_and_the_same_again(kind: str) -> None:
    one, other, third = (draw_texture(90, 60, rng(seed), kind) for seed in (1, 1, 2))
    assert one.shape == (60, 90, 3) and one.dtype == np.uint8
    assert (one == other).all()
    assert (one != third).any()


@pytest.mark.parametrize("kind", sorted(set(TEXTURES) - {"smooth"}))
def test_is_as_sharp_as_a_pixel_allows(kind: str) -> None:
    for seed in range(4):
        image = draw_texture(120, 120, rng(seed), kind)
        soft = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)
        assert detail(image) > 8
        assert detail(image) > 2 * detail(soft)


def test_smooth_surfaces_have_next_to_no_detail() -> None:
    assert max(detail(draw_texture(120, 120, rng(seed), "smooth")) for seed in range(4)) < 6


def test_pictures_have_edges_at_several_scales() -> None:
    for seed in range(6):
        image = draw_picture(128, 128, rng(seed))
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        strengths = []
        for _ in range(4):
            strengths.append(detail(image))
            image = np.asarray(cv2.pyrDown(image), np.uint8)
        assert min(strengths) > 8


def test_pictures_differ_and_repeat() -> None:
    assert (draw_picture(40, 30, rng(1)) == draw_picture(40, 30, rng(1))).all()
    assert (draw_picture(40, 30, rng(1)) != draw_picture(40, 30, rng(2))).mean() > 0.5


@pytest.mark.parametrize("steepness", [0.6, 1.0, 1.5])
def test_fractal_noise_falls_as_it_says(steepness: float) -> None:
    slopes = []
    for seed in range(6):
        noise = fractal(256, 256, rng(seed), steepness=steepness)
        assert noise.mean() == pytest.approx(0, abs=1e-4)
        assert noise.std() == pytest.approx(1, abs=1e-4)
        window = np.outer(np.hanning(256), np.hanning(256))
        power = np.abs(np.fft.rfft2(noise * window))[:, :100]
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :100])
        use = (frequency > 0.03) & (frequency < 0.3)
        slopes.append(np.polyfit(np.log(frequency[use]), np.log(power[use]), 1)[0])
    assert np.mean(slopes) == pytest.approx(-steepness, abs=0.25)


def test_fractal_noise_of_a_few_pixels() -> None:
    assert fractal(3, 2, rng(0)).shape == (2, 3)
