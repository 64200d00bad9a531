"""Looking ahead: every frame once and in order, maps that are not late, calmer than from one side."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.smoothing import look_ahead
from br2focus.realtime.smoothing.adaptive import AdaptiveSmoother
from br2focus.realtime.smoothing.look_ahead import LookAheadSmoother
from br2focus.realtime.smoothing.protocol import Smoother

SIZE = (160, 96)
AHEAD = 4


def texture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def frame(index: int, image: np.ndarray | None = None) -> Frame:
    return Frame(texture() if image is None else image.copy(), index, index, Fraction(1, 30), 0.0)


def full(value: float) -> BlurMap:
    return BlurMap(np.full((SIZE[1], SIZE[0]), value, np.float32))


def run(smoother: Smoother, values: list[float]) -> list[float]:
    """The mean of every map that is shown, of a still whose maps have these values."""
    done = [s for i, v in enumerate(values) for s in smoother.add(frame(i), full(v))]
    done += smoother.flush()
    assert [s.frame.index for s in done] == list(range(len(values)))
    assert [float(s.raw.values[0, 0]) for s in done] == pytest.approx(values)
    return [float(s.shown.values.mean()) for s in done]


@pytest.mark.parametrize("count", [1, 2, AHEAD, AHEAD + 1, 12])
def test_every_frame_comes_out_once_and_in_order(count):
    assert len(run(LookAheadSmoother(AHEAD), [0.2] * count)) == count


def test_another_thread_gives_the_same_maps():
    values = list(np.random.default_rng(0).uniform(0.1, 0.9, 20))
    assert run(LookAheadSmoother(AHEAD), values) == run(LookAheadSmoother(AHEAD, threaded=True), values)


def test_where_another_thread_looks_one_more_waits():
    smoother = LookAheadSmoother(AHEAD, threaded=True)
    for index in range(10):
        done = smoother.add(frame(index), full(0.2))
        assert [s.frame.index for s in done] == ([index - AHEAD - 1] if index > AHEAD else [])


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("at", [0, 2, 7])
def test_frames_before_an_error_all_come_out(monkeypatch, at, threaded):
    smoother, real = LookAheadSmoother(2, threaded=threaded), AdaptiveSmoother.step

    def step(self, frame, blur):
        if frame.index == at:
            raise MemoryError
        return real(self, frame, blur)

    monkeypatch.setattr(AdaptiveSmoother, "step", step)
    done = [s for index in range(at) for s in smoother.add(frame(index), full(0.2))]
    with pytest.raises(MemoryError):
        smoother.add(frame(at), full(0.2))
    assert [s.frame.index for s in done + smoother.flush()] == list(range(at))


def test_frames_wait_no_longer_than_told():
    smoother = LookAheadSmoother(AHEAD)
    for index in range(10):
        done = smoother.add(frame(index), full(0.2))
        assert [s.frame.index for s in done] == ([index - AHEAD] if index >= AHEAD else [])


def test_large_pictures_wait_less(monkeypatch):
    monkeypatch.setattr(look_ahead, "HELD_BYTES", 2.5 * SIZE[0] * SIZE[1] * 7)
    smoother = LookAheadSmoother(AHEAD)
    ready = [len(smoother.add(frame(index), full(0.2))) for index in range(6)]
    assert ready == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("step", [0.001, 0.0025, 0.005])
def test_a_slow_change_is_less_late_than_from_one_side(step):
    values = list(0.2 + step * np.arange(40))
    late = np.abs(np.array(values) - run(LookAheadSmoother(AHEAD), values))[8:-8]
    later = np.abs(np.array(values) - run(AdaptiveSmoother(), values))[8:-8]
    assert late.max() < 0.02 and late.mean() < 0.7 * later.mean()


def test_a_jump_stays_a_jump():
    values = [0.1] * 10 + [0.9] * 10
    assert run(LookAheadSmoother(AHEAD), values) == pytest.approx(values, abs=0.02)


def test_a_frame_alone_is_seen_as_flicker():
    values = [0.2] * 10 + [0.32] + [0.2] * 10
    assert max(run(LookAheadSmoother(AHEAD), values)) < 0.24


def test_flicker_decays_more_than_from_one_side():
    rng = np.random.default_rng(1)
    values = list(np.clip(0.3 + rng.normal(0, 0.02, 60), 0, 1))
    both, one = (
        np.std(run(smoother, values)[8:-8]) for smoother in (LookAheadSmoother(AHEAD), AdaptiveSmoother())
    )
    assert both < one < 0.5 * np.std(values)


def test_the_average_moves_with_the_picture():
    """A sharp thing that moves 3 pixels a frame; its map has noise of its own in every frame."""
    rng, smoother, wide = np.random.default_rng(2), LookAheadSmoother(AHEAD), texture(size=(400, SIZE[1]))
    true, noisy, shown = [], [], []
    for index in range(25):
        x = 20 + 3 * index
        blur = np.ones((SIZE[1], SIZE[0]), np.float32)
        blur[30:70, x : x + 40] = 0
        true.append(cv2.GaussianBlur(blur, (0, 0), 4))
        noisy.append(np.clip(true[-1] + rng.normal(0, 0.02, blur.shape), 0, 1).astype(np.float32))
        image = np.ascontiguousarray(wide[:, 100 - 3 * index : 100 - 3 * index + SIZE[0]])
        shown += smoother.add(frame(index, image), BlurMap(noisy[-1]))
    shown += smoother.flush()
    errors = np.abs(np.array([s.shown.values for s in shown]) - true).mean((1, 2))
    assert errors[8:].mean() < 0.8 * np.abs(np.array(noisy) - true).mean()


def test_nothing_passes_a_cut():
    smoother = LookAheadSmoother(AHEAD)
    for index in range(3):
        assert not smoother.add(frame(index), full(0.1))
    done = smoother.add(frame(3, np.zeros((SIZE[1], SIZE[0], 3), np.uint8)), full(0.3))
    done += smoother.flush()
    assert [s.frame.index for s in done] == [0, 1, 2, 3]
    means = [float(s.shown.values.mean()) for s in done]
    assert means == pytest.approx([0.1, 0.1, 0.1, 0.3])


def test_reset_forgets_what_waits():
    smoother = LookAheadSmoother(AHEAD)
    smoother.add(frame(0), full(0.1))
    smoother.reset()
    assert smoother.flush() == [] and smoother.delay == 0
    [only] = [*smoother.add(frame(0), full(0.6)), *smoother.flush()]
    assert only.shown is only.raw


def test_maps_stay_maps_on_odd_sizes():
    for width, height in ((1, 1), (3, 2), (37, 1001)):
        smoother = LookAheadSmoother(2)
        rng, done = np.random.default_rng(0), []
        for index in range(5):
            image = np.full((height, width, 3), 10 * index, np.uint8)
            blur = BlurMap(rng.random((height, width)).astype(np.float32))
            done += smoother.add(frame(index, image), blur)
        assert [s.shown.values.shape for s in done + smoother.flush()] == [(height, width)] * 5


def test_it_looks_ahead_by_a_frame_at_least():
    with pytest.raises(ValueError, match="1 frame or more"):
        LookAheadSmoother(0)
