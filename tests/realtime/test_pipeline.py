"""The stop and error matrix: whatever fails, wherever and whenever, the error arrives and threads end."""

import itertools
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.smoothing.exponential import ExponentialSmoother
from br2focus.realtime.smoothing.look_ahead import LookAheadSmoother
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.video_info import SourceInfo

TOTAL = 200
PICTURE = np.zeros((4, 6, 3), np.uint8)


class Boom(Exception):
    pass


class FakeSource:
    """Gives numbered frames and may fail at one of them, or on close."""

    def __init__(self, *, live=False, fail_at=None, total=TOTAL, fail_on_close=False):
        self.info = SourceInfo("fake", live=live)
        self.fail_at, self.total, self.fail_on_close = fail_at, total, fail_on_close
        self.closed = 0

    def __iter__(self):
        for index in range(self.total):
            if index == self.fail_at:
                raise Boom("source")
            yield Frame(PICTURE.copy(), index, index, Fraction(1, 30), time.monotonic())
        if self.fail_at == self.total:
            raise Boom("source")

    def close(self):
        self.closed += 1
        if self.fail_on_close:
            raise Boom("close")


class FakeEngine:
    """Maps of zeros; may fail at one frame. Stands for `Engine` in the call that a pipeline makes."""

    seconds = 0.0

    def __init__(self, *, fail_at=None):
        self.fail_at = fail_at

    def stream(self, frames, depth, size=None):
        for number, frame in enumerate(frames):
            if number == self.fail_at:
                raise Boom("process")
            yield frame, BlurMap(np.zeros(PICTURE.shape[:2], np.float32))


def threads():
    return [t for t in threading.enumerate() if t.name in ("capture", "infer", "smooth", "refine")]


@pytest.mark.parametrize("at", [0, 1, 3, 50, 199])
@pytest.mark.parametrize("what", ["source", "process", "sink", "break", "end"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "file"])
def test_every_way_to_end(live, what, at):
    # A live pipeline may drop any frame, so what counts results must not wait for a certain number.
    total = at if what == "end" else TOTAL
    source = FakeSource(live=live, total=total, fail_at=at if what == "source" else None)
    engine = FakeEngine(fail_at=min(at, 0 if live else at) if what == "process" else None)
    seen = []

    def run():
        with Pipeline(source, engine, None) as pipeline:
            for result in pipeline:
                seen.append(result.frame.index)
                if what == "sink" and (live or len(seen) > at):
                    raise Boom("sink")
                if what == "break" and (live or len(seen) > at):
                    break

    if what in ("source", "process", "sink"):
        with pytest.raises(Boom, match=what):
            run()
    else:
        run()
    assert not threads()
    assert source.closed == 1
    assert seen == sorted(set(seen))
    if not live:
        want = {"source": at, "process": at, "sink": at + 1, "break": at + 1, "end": at}[what]
        assert seen == list(range(want))


def test_live_keeps_the_newest_and_counts_drops():
    with Pipeline(FakeSource(live=True), FakeEngine(), None) as pipeline:
        seen = []
        for result in pipeline:
            seen.append(result.frame.index)
            time.sleep(0.01)
        assert seen[-1] == TOTAL - 1
        assert len(seen) + pipeline.stats.dropped == TOTAL
        assert pipeline.stats.results == len(seen) < TOTAL


def test_file_waits_for_a_slow_reader_with_bounded_queues():
    given = []

    def count():
        for number in itertools.count():
            given.append(number)
            yield PICTURE

    with Pipeline(Frames(count()), FakeEngine(), None) as pipeline:
        results = iter(pipeline)
        next(results)
        time.sleep(0.1)
        assert len(given) <= 12
    assert not threads()


def test_a_source_stuck_in_a_read_is_released_by_closing_it(monkeypatch):
    monkeypatch.setattr("br2focus.realtime.pipeline.JOIN_SECONDS", 0.1)
    release = threading.Event()

    class Stuck(FakeSource):
        def __iter__(self):
            yield from super().__iter__()
            release.wait(10)

        def close(self):
            super().close()
            release.set()

    source = Stuck(total=1)
    with Pipeline(source, FakeEngine(), None) as pipeline:
        next(iter(pipeline))
    assert source.closed and not threads()


def test_a_thread_that_cannot_be_joined_is_said(monkeypatch):
    monkeypatch.setattr("br2focus.realtime.pipeline.JOIN_SECONDS", 0.05)
    release = threading.Event()

    class Wedged(FakeSource):
        def __iter__(self):
            release.wait(10)
            yield from ()

    with pytest.raises(OSError, match="capture is stuck"), Pipeline(Wedged(), FakeEngine(), None):
        pass
    release.set()
    for thread in threads():
        thread.join(5)


def test_slow_work_is_waited_for(monkeypatch):
    monkeypatch.setattr("br2focus.realtime.pipeline.JOIN_SECONDS", 0.05)

    class Slow(FakeEngine):
        def stream(self, frames, depth, size=None):
            for result in super().stream(frames, depth, size):
                time.sleep(0.3)
                yield result

    with Pipeline(FakeSource(), Slow(), None) as pipeline:
        next(iter(pipeline))
    assert not threads()


def test_a_pipeline_is_entered_once_and_before_it_is_read():
    pipeline = Pipeline(FakeSource(), FakeEngine(), None)
    with pytest.raises(RuntimeError, match="enter"):
        next(iter(pipeline))
    with pipeline, pytest.raises(RuntimeError, match="once"):
        pipeline.__enter__()
    assert not threads()


def test_an_error_on_close_arrives():
    source = FakeSource(total=2, fail_on_close=True)
    with (
        pytest.raises(Boom, match="close"),
        Pipeline(source, FakeEngine(), None) as pipeline,
    ):
        list(pipeline)


@pytest.mark.parametrize("name", ["capture", "infer", "smooth", "refine"])
def test_a_failed_start_leaves_no_thread(monkeypatch, name):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        Pipeline(FakeSource(), FakeEngine(), ExponentialSmoother(0.2)).__enter__()
    assert not threads()


def test_results_carry_times():
    with Pipeline(FakeSource(total=3), FakeEngine(), ExponentialSmoother(0.2)) as pipeline:
        results = list(pipeline)
    assert all(r.timing.ready >= r.timing.arrived > 0 for r in results)
    assert all(r.timing.smoothing_delay == 0.2 for r in results)
    assert pipeline.stats.age_p50 >= 0.2


@pytest.mark.parametrize("fail_at", [None, 0, 3, 100])
def test_frames_that_wait_for_the_next_ones_all_come_out(fail_at):
    indices = []
    with Pipeline(FakeSource(fail_at=fail_at), FakeEngine(), LookAheadSmoother(4)) as pipeline:
        if fail_at is None:
            indices += [result.frame.index for result in pipeline]
        else:
            with pytest.raises(Boom, match="source"):
                indices.extend(result.frame.index for result in pipeline)
    assert indices == list(range(TOTAL if fail_at is None else fail_at))


def test_the_last_frames_of_a_live_source_are_not_dropped():
    class Slow(FakeSource):
        def __iter__(self):
            for frame in super().__iter__():
                time.sleep(0.005)  # the next one comes when this one is computed and read
                yield frame

    indices = []
    with Pipeline(Slow(live=True, total=20), FakeEngine(), LookAheadSmoother(4)) as pipeline:
        for result in pipeline:
            indices.append(result.frame.index)
            if result.frame.index >= 15:
                time.sleep(0.03)  # all of the last four are ready by now
    assert indices[-4:] == [16, 17, 18, 19]


def test_a_file_is_drawn_and_measured_at_the_size_of_its_frames():
    class Small(FakeEngine):
        def stream(self, frames, depth, size=None):
            for frame in frames:
                yield frame, BlurMap(np.full((2, 3), frame.index / TOTAL, np.float32))

    source = FakeSource(total=5)
    with Pipeline(source, Small(), LookAheadSmoother(2), draw=lambda r: r.frame.image + 1) as pipeline:
        results = list(pipeline)
    for index, result in enumerate(results):
        assert np.array_equal(result.drawn, PICTURE + 1)
        assert result.blur.shape == result.measured.values.shape == PICTURE.shape[:2]
        assert np.allclose(result.measured.values, index / TOTAL)


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_drawing_is_raised_where_results_are_read(live):
    def fail(result):
        raise Boom("draw")

    with (
        pytest.raises(Boom, match="draw"),
        Pipeline(FakeSource(live=live), FakeEngine(), draw=fail) as pipeline,
    ):
        list(pipeline)
    assert not threads()


def test_another_smoother_begins_when_the_one_before_has_given_all():
    indices, source = [], FakeSource()
    with Pipeline(source, FakeEngine(), LookAheadSmoother(4)) as pipeline:
        for result in pipeline:
            indices.append(result.frame.index)
            if result.frame.index in (20, 60, 100):
                pipeline.smoothing = {20: ExponentialSmoother(0.2), 60: None, 100: LookAheadSmoother(2)}[
                    result.frame.index
                ]
    assert indices == list(range(TOTAL))


def test_a_pipeline_whose_frames_wait_stops_at_once():
    with Pipeline(FakeSource(), FakeEngine(), LookAheadSmoother(4)) as pipeline:
        next(iter(pipeline))
    assert not threads()


def test_a_smoother_that_was_left_with_frames_begins_anew():
    smoother = LookAheadSmoother(4)
    for total in (TOTAL, 12):
        with Pipeline(FakeSource(total=total), FakeEngine(), smoother) as pipeline:
            seen = []
            for result in pipeline:
                seen.append(result.frame.index)
                if total == TOTAL and len(seen) == 3:
                    break
    assert seen == list(range(12)), "none of the clip before"
