"""The noise of the sensor: as strong as it says, of photons and of reading, never the same twice."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.models.rendering.optics import Pixels, Values, to_linear, to_srgb
from br2focus.models.rendering.sensor import MID_GRAY, Sensor


def flat(light: float) -> Values:
    return np.full((120, 160, 3), light, np.float32)


def expose(light: float, noise: float, index: int = 0) -> Pixels:
    return Sensor(160, 120, noise=noise, seed=1).expose(flat(light), index)


def linear_deviation(light: float) -> float:
    return float(to_linear(expose(light, 6.0)).std())


@pytest.mark.parametrize("noise", [1.5, 4.0, 12.0])
def test_is_as_strong_as_it_says_at_mid_gray(noise: float) -> None:
    image = expose(MID_GRAY, noise).astype(float)
    assert image.std() == pytest.approx(noise, rel=0.06)
    assert image.mean() == pytest.approx(127.5, abs=1)


def test_grows_with_the_root_of_the_light() -> None:
    assert linear_deviation(0.4) / linear_deviation(0.1) == pytest.approx(2, rel=0.08)


def test_black_has_the_noise_of_reading() -> None:
    assert 0 < linear_deviation(0.0) < 0.3 * linear_deviation(MID_GRAY)


def test_none_is_none() -> None:
    assert (expose(MID_GRAY, 0.0) == to_srgb(flat(MID_GRAY))).all()


def test_each_frame_has_its_own_and_always_the_same() -> None:
    one, again, other = (expose(MID_GRAY, 5.0, index).astype(float) for index in (3, 3, 4))
    assert (one == again).all()
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
