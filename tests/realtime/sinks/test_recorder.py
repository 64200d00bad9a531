"""Recording that is switched while results come, and one that fails."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from br2focus.realtime.errors import SinkError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.recorder import Recorder
from br2focus.realtime.sinks.sink import FileSink


class Lines(FileSink):
    """Writes the index of every result; fails at ``broken``."""

    def __init__(self, path: Path, broken: int = -1) -> None:
        super().__init__(Output(path))
        self._broken = broken

    def _write(self, result: FocusResult) -> None:
        if result.frame.index == self._broken:
            raise OSError(28, "No space left on device")
        with self._output.temporary.open("a") as file:
            file.write(f"{result.frame.index}\n")


def result(index: int, arrived: float = 0.0) -> FocusResult:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), index, index, Fraction(1, 30), arrived)
    return FocusResult(frame, BlurMap(np.zeros((4, 4), np.float32)))


def test_it_holds_what_came_while_it_was_on(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.write(result(0))
    assert recorder.seconds is None and recorder.stop() == []
    recorder.start([Lines(tmp_path / "a"), Lines(tmp_path / "b")])
    for index in (1, 2):
        recorder.write(result(index))
    assert recorder.seconds is not None and not (tmp_path / "a").exists()
    assert recorder.stop() == [tmp_path / "a", tmp_path / "b"]
    recorder.write(result(3))
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "0\n1\n"


def test_one_recording_at_a_time(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start([Lines(tmp_path / "a")])
    with pytest.raises(ValueError, match="stop"):
        recorder.start([Lines(tmp_path / "b")])
    recorder.write(result(1))
    assert recorder.stop() == [tmp_path / "a"]


class Times(FileSink):
    """Keeps the index and the time of what is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(Output(path))
        self.frames: list[tuple[int, float]] = []

    def _write(self, result: FocusResult) -> None:
        self.frames.append((result.frame.index, float(result.frame.seconds)))


def test_a_take_begins_at_0_and_its_time_goes_on_over_sources(tmp_path: Path) -> None:
    recorder, sink = Recorder(), Times(tmp_path / "a")
    recorder.start([sink])
    for index, arrived in ((18000, 600.0), (18003, 600.1)):
        recorder.write(result(index, arrived))
    for index, arrived in ((0, 602.1), (3, 602.2)):  # another source, which begins at 0 again
        recorder.write(result(index, arrived))
    recorder.stop()
    assert [index for index, _ in sink.frames] == [0, 1, 2, 3]
    assert [time for _, time in sink.frames] == pytest.approx([0, 0.1, 2.1, 2.2], abs=1e-5)


def test_completing_does_not_hold_what_comes(tmp_path: Path) -> None:
    class Slow(Lines):
        def _finish(self) -> None:
            begun.set()
            assert go_on.wait(10)
            super()._finish()

    begun, go_on, recorder = threading.Event(), threading.Event(), Recorder()
    recorder.start([Slow(tmp_path / "a")])
    recorder.write(result(1))
    closing = threading.Thread(target=recorder.stop)
    closing.start()
    assert begun.wait(10)
    recorder.write(result(2))
    go_on.set()
    closing.join()
    assert (tmp_path / "a").read_text() == "0\n"


def test_a_failure_ends_all_of_it_and_is_raised_once(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start([Lines(tmp_path / "a"), Lines(tmp_path / "b", broken=1)])
    recorder.write(result(1))
    with pytest.raises(SinkError, match="disk is full"):
        recorder.write(result(2))
    recorder.write(result(3))
    assert recorder.seconds is None and recorder.stop() == []
    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_be_completed_leaves_the_other(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start([Lines(tmp_path / "a"), Lines(tmp_path / "b")])
    recorder.write(result(1))
    (tmp_path / "a").write_text("another program's")
    with pytest.raises(SinkError, match="exists"):
        recorder.stop()
    assert (tmp_path / "b").read_text() == "0\n" and (tmp_path / "a").read_text().startswith("ano")
