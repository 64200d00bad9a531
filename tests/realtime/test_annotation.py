"""The batch job with the real engine: one engine for many inputs, whatever became of the one before."""

import threading

import cv2
import numpy as np
import pytest

from br2focus.realtime.annotation import annotate, few_threads
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.errors import SinkError, SourceError
from br2focus.realtime.sinks.sink import Sink
from br2focus.realtime.sources.arrays import Frames


class Collecting(Sink):
    """Keeps frame numbers; fails at one of them, or on close."""

    def __init__(self, *, fail_at=None, fail_on_close=False):
        self.seen, self.ended = [], []
        self.fail_at, self.fail_on_close = fail_at, fail_on_close

    def write(self, result):
        if result.frame.index == self.fail_at:
            raise SinkError("disk full")
        self.seen.append(result.frame.index)

    def close(self):
        self.ended.append("closed")
        if self.fail_on_close:
            raise SinkError("disk full")

    def abort(self):
        self.ended.append("aborted")


def images(number, *, fail=False):
    for index in range(number):
        yield np.full((64, 64, 3), index, np.uint8)
    if fail:
        raise SourceError("damaged")


@pytest.fixture
def engine(model):
    return Engine(EngineSettings(model, "cpu", backend="openvino"))


def test_every_frame_goes_to_every_sink(engine):
    sinks = [Collecting(), Collecting()]
    calls = []
    summary = annotate(Frames(images(7)), engine, sinks, progress=lambda done, expected: calls.append(done))
    assert summary.frames == 7 and not summary.stopped
    assert all(sink.seen == list(range(7)) and sink.ended == ["closed"] for sink in sinks)
    assert calls == list(range(1, 8))


@pytest.mark.parametrize("fail_at", [0, 1, 3])
def test_a_failing_sink_aborts_all_and_the_next_job_runs(engine, fail_at):
    sinks = [Collecting(), Collecting(fail_at=fail_at)]
    with pytest.raises(SinkError, match="disk full"):
        annotate(Frames(images(20)), engine, sinks)
    assert all(sink.ended == ["aborted"] for sink in sinks)
    again = Collecting()
    assert annotate(Frames(images(5)), engine, [again]).frames == 5
    assert again.ended == ["closed"]


def test_a_failing_close_aborts_the_sinks_not_yet_closed(engine):
    sinks = [Collecting(), Collecting(fail_on_close=True)]
    with pytest.raises(SinkError, match="disk full"):
        annotate(Frames(images(2)), engine, sinks)
    assert [sink.ended for sink in sinks] == [["aborted"], ["closed"]]


def test_a_failing_source_aborts_after_its_last_frame(engine):
    sink = Collecting()
    with pytest.raises(SourceError, match="damaged"):
        annotate(Frames(images(5, fail=True)), engine, [sink])
    assert sink.seen == list(range(5)) and sink.ended == ["aborted"]


def test_an_empty_source_is_an_error(engine):
    sink = Collecting()
    with pytest.raises(SourceError, match="no decodable video frames"):
        annotate(Frames([]), engine, [sink])
    assert sink.ended == ["aborted"]


def test_stopping_closes_what_is_there(engine):
    sink = Collecting()
    summary = annotate(Frames(images(50)), engine, [sink], progress=lambda done, _: done == 3)
    assert summary.stopped and sink.seen == [0, 1, 2] and sink.ended == ["closed"]
    assert not [t for t in threading.enumerate() if t.name in ("capture", "infer", "smooth", "refine")]


def test_jobs_that_overlap_leave_opencv_with_the_threads_it_had():
    before = cv2.getNumThreads()
    first, second = threading.Event(), threading.Event()
    try:
        cv2.setNumThreads(8)

        def overlapping():
            with few_threads:
                first.set()
                second.wait(10)

        other = threading.Thread(target=overlapping)
        other.start()
        first.wait(10)
        with few_threads:
            assert cv2.getNumThreads() == 2
            second.set()
            other.join(10)
            assert cv2.getNumThreads() == 2, "this job is not over"
        assert cv2.getNumThreads() == 8
    finally:
        cv2.setNumThreads(before)
