"""Smoothing by a time constant: the same look at every frame rate, anew where time or picture jumps."""

import math
from fractions import Fraction

import numpy as np
import pytest

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.smoothing.adaptive import AdaptiveSmoother
from br2focus.realtime.smoothing.exponential import ExponentialSmoother
from br2focus.realtime.smoothing.factory import frames_ahead, make_smoother
from br2focus.realtime.smoothing.look_ahead import LookAheadSmoother

SHAPE = (18, 32)
TICK = Fraction(1, 1000)


def frame(milliseconds: int, level: int = 100, shape: tuple[int, int] = SHAPE) -> Frame:
    return Frame(np.full((*shape, 3), level, np.uint8), 0, milliseconds, TICK, 0.0)


def blur(value: float, shape: tuple[int, int] = SHAPE) -> BlurMap:
    return BlurMap(np.full(shape, value, np.float32))


def value(smoothed: BlurMap) -> float:
    assert np.ptp(smoothed.values) < 1e-6
    return float(smoothed.values[0, 0])


def test_first_map_passes_unchanged():
    assert value(ExponentialSmoother(0.1)(frame(0), blur(0.7))) == pytest.approx(0.7)


@pytest.mark.parametrize("step", [10, 20, 50, 100])
def test_a_step_follows_the_time_constant_at_every_rate(step):
    smoothing = ExponentialSmoother(0.1)
    smoothing(frame(0), blur(0))
    for milliseconds in range(step, 201, step):
        smoothed = smoothing(frame(milliseconds), blur(1))
    assert value(smoothed) == pytest.approx(1 - math.exp(-2), abs=1e-4)


@pytest.mark.parametrize(
    ("second", "size"),
    [(frame(501), SHAPE), (frame(-10), SHAPE), (frame(0), SHAPE), (frame(33, level=200), SHAPE)],
    ids=["gap", "back", "same time", "cut"],
)
def test_starts_anew(second, size):
    smoothing = ExponentialSmoother(0.1)
    smoothing(frame(0), blur(0))
    assert value(smoothing(second, blur(1, size))) == 1


def test_starts_anew_at_another_size_and_after_reset():
    smoothing = ExponentialSmoother(0.1)
    smoothing(frame(0), blur(0))
    assert value(smoothing(frame(33, shape=(9, 16)), blur(1, (9, 16)))) == 1
    smoothing.reset()
    assert value(smoothing(frame(66, shape=(9, 16)), blur(0, (9, 16)))) == 0


def test_an_exposure_step_is_no_cut():
    smoothing = ExponentialSmoother(0.1)
    smoothing(frame(0, level=100), blur(0))
    assert value(smoothing(frame(33, level=115), blur(1))) < 0.5


def test_earlier_results_are_not_written_over():
    smoothing = ExponentialSmoother(0.1)
    first = smoothing(frame(0), blur(0))
    smoothing(frame(33), blur(1))
    assert value(first) == 0


def test_time_constant_is_positive():
    with pytest.raises(ValueError, match="positive"):
        ExponentialSmoother(0)


@pytest.mark.parametrize(
    ("setting", "kind", "ahead"),
    [
        ("adaptive", AdaptiveSmoother, 0),
        ("look-ahead", LookAheadSmoother, 5),
        ("look-ahead:1", LookAheadSmoother, 1),
        ("look-ahead:30", LookAheadSmoother, 30),
        (0.1, ExponentialSmoother, 0),
        (60, ExponentialSmoother, 0),
        (None, type(None), 0),
    ],
)
def test_a_setting_names_a_smoother(setting, kind, ahead):
    assert type(make_smoother(setting)) is kind and frames_ahead(setting) == ahead


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_wait_as_many_as_the_setting_says(frames):
    smoother = make_smoother(f"look-ahead:{frames}")
    assert smoother is not None
    ready = [len(smoother.add(frame(33 * i), blur(0.2))) for i in range(5)]
    assert ready == [0] * frames + [1] * (5 - frames)


@pytest.mark.parametrize(
    "wrong",
    [
        "soon",
        "",
        "off",
        "look-ahead:",
        "look-ahead:0",
        "look-ahead:31",
        "look-ahead:2.5",
        "look-ahead:-1",
        "adaptive:3",
        "look-ahead:\u0663",
        0,
        -1.0,
        61,
        float("nan"),
    ],
)
def test_another_setting_is_refused_with_the_choices(wrong):
    with pytest.raises(SettingsError, match="choose adaptive, look-ahead, look-ahead:FRAMES"):
        make_smoother(wrong)
