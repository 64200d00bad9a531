"""Scores over time; and the focus pull of the test source, whose best focus is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from br2focus.models.rendering.clips import SUBJECT, best_focus
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.frame import BlurMap, Frame, Roi
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.result import FocusResult, Timing
from br2focus.realtime.scores import SECONDS, WHOLE, Scores
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.sources.live.test_source import RATE, FocusPullSource


def result(value: float, index: int, arrived: float, raw: float | None = None) -> FocusResult:
    def full(p: float) -> BlurMap:
        return BlurMap(np.full((8, 10), p, np.float32))

    frame = Frame(np.zeros((8, 10, 3), np.uint8), index, index, Fraction(1, 30), arrived)
    return FocusResult(frame, full(value), Timing(arrived, arrived), raw=None if raw is None else full(raw))


def test_the_best_is_held_and_forgotten():
    scores, rois = Scores(), (Roi("a", 1, 1, 4, 4),)
    for index, blurred in enumerate((0.9, 0.2, 0.6)):
        scores.add(result(blurred, index, float(index)), rois)
    series = scores.series["a"]
    assert series.best.index == 1 and series.best.value == pytest.approx(0.8)
    assert series.last.value == pytest.approx(0.4)
    assert [point.value for point in scores.series[WHOLE].points] == [0, 1, 0]
    scores.reset()
    assert series.best is None and len(series.points) == 3


def test_values_are_of_the_frame_alone():
    scores = Scores()
    scores.add(result(0.9, 0, 0.0, raw=0.1), (Roi("a", 0, 0, 4, 4),))
    assert scores.series["a"].last.value == pytest.approx(0.9)


def test_old_values_and_regions_go():
    scores, roi = Scores(), Roi("a", 0, 0, 4, 4)
    for second in range(int(SECONDS) + 10):
        scores.add(result(0.5, second, float(second)), (roi,))
    points = scores.series["a"].points
    assert points[-1].arrived - points[0].arrived <= SECONDS
    scores.add(result(0.5, 99, 99.0), ())
    assert set(scores.series) == {WHOLE}
    scores.add(result(0.5, 100, 100.0), (Roi("far", 50, 50, 4, 4), roi))
    assert set(scores.series) == {WHOLE, "a"}, "outside the frame"
    scores.add(result(0.9, 101, 101.0), (roi._replace(x=2),))
    assert scores.series["a"].best.value == pytest.approx(0.1), "elsewhere, another best"
    assert scores.now()["a"] == pytest.approx((0.1, 0.1))
    scores.reset("b")
    assert scores.series["a"].best is not None


@pytest.fixture(scope="module")
def pull():
    """The frame of best focus, and the 25 frames on either side; rendered once."""
    source = FocusPullSource()
    [second] = best_focus(source.clip.spec, SUBJECT)
    truth = float(second * RATE)
    first = round(truth) - 25
    return truth, first, [source.truth(index).image for index in range(first, first + 50)]


@pytest.fixture(scope="module")
def lite():
    with Engine("lite", device="cpu") as engine:
        yield engine


@pytest.mark.parametrize("smoothing", [None, 0.1, 0.3])
def test_the_maximum_of_a_focus_pull_is_where_the_focus_was_best(smoothing, pull, lite):
    truth, first, images = pull
    head, chest = Roi("head", 380, 120, 60, 60), Roi("chest", 400, 320, 40, 40)
    scores = Scores()
    with Pipeline(Frames(images, RATE), lite, smoothing) as pipeline:
        for shown in pipeline:
            scores.add(shown, (head, chest))
    for name in ("head", "chest"):
        best = scores.series[name].best
        assert best is not None and best.value > 0.9
        assert abs(first + best.index - truth) <= 2, name
