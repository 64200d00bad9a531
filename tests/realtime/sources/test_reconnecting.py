"""A live source over every fault: stalls, endings, errors, frozen pictures, reads that never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from br2focus.realtime.errors import LostError, RefusedError, SourceError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.live.connection import ReconnectPolicy, State, Status
from br2focus.realtime.sources.live.reconnecting import HANGING, ReconnectingSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.timeline import Timeline
from br2focus.realtime.video_info import SourceInfo

QUICK = ReconnectPolicy(opening=2.0, stall=2.0, frozen=2.0, first=0.02, longest=0.05, good=10.0)
Step = Callable[[], None]


class Fake(Source):
    """Frames of noise, one each 10 ms; then ``last`` happens."""

    def __init__(self, count: int, last: Step = lambda: None, *, start: int = 0, still: bool = False) -> None:
        self.info = SourceInfo("fake", live=True)
        self.count, self.last, self.start, self.still = count, last, start, still
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            rng = np.random.default_rng(10**9 if self.still else index)
            image = rng.integers(0, 256, (8, 8, 3), np.uint8)
            if self.closed.wait(0.01):
                return
            pts = self.start + index
            yield Frame(image, index, pts, Fraction(1, 100), time.monotonic())
        self.last()


def fail() -> None:
    raise SourceError("cable pulled")


def supervised(*parts: object, patience: ReconnectPolicy = QUICK) -> ReconnectingSource:
    """The source opens each of ``parts`` in turn, then the last one again; an exception is raised."""
    coming = list(parts)

    def opened() -> Fake:
        part = coming.pop(0) if len(coming) > 1 else coming[0]
        if isinstance(part, BaseException):
            raise part
        assert isinstance(part, Fake)
        return Fake(part.count, part.last, start=part.start, still=part.still)

    return ReconnectingSource(opened, "camera", patience)


def first(source: ReconnectingSource, count: int) -> list[tuple[Frame, Status]]:
    found = []
    for frame in source:
        found.append((frame, source.status))
        if len(found) == count:
            source.close()
    return found


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_it_passes_frames_on_and_says_so() -> None:
    source = supervised(Fake(10**6))
    assert source.info.live and source.status.state is State.CONNECTING
    found = first(source, 5)
    assert [frame.index for frame, _ in found] == [0, 1, 2, 3, 4]
    assert all(status.state is State.RUNNING for _, status in found)
    assert source.status.state is State.ENDED and source.status.reopened == 0


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (Fake(3), State.LOST, "the stream ended"),
        (Fake(3, fail), State.LOST, "cable pulled"),
        (Fake(3, lambda: time.sleep(3)), State.STALLED, "no picture for 0.3 s"),
        (Fake(10**6, still=True), State.FROZEN, "the same picture"),
    ],
    ids=["end", "error", "stall", "frozen"],
)
def test_it_comes_back_after(fault: Fake, state: State, reason: str) -> None:
    stall = 0.3 if state is State.STALLED else 2.0
    patience = replace(QUICK, first=0.5, longest=0.5, stall=stall, frozen=0.3)
    source = supervised(fault, Fake(10**6), patience=patience)
    seen: list[Status] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            if source.status != (seen[-1] if seen else None):
                seen.append(source.status)

    watcher = threading.Thread(target=watch)
    watcher.start()
    frames, before = [], 0
    for frame in source:
        frames.append(frame)
        before += source.status.reopened == 0
        if len(frames) == before + 5:
            source.close()
    done.set()
    watcher.join()
    fault_status = next(s for s in seen if s.state is state)
    assert reason in fault_status.reason
    assert seen[-1].reopened >= 1 and seen[-1].state in (State.RUNNING, State.ENDED)
    assert [f.index for f in frames] == list(range(len(frames)))
    times = [float(f.seconds) for f in frames]
    assert times == sorted(set(times))
    gap = times[before] - times[before - 1]
    assert 0.3 < gap < 20, "as long as it really was"


def test_times_within_an_opening_are_those_of_the_source() -> None:
    times = [frame.pts for frame, _ in first(supervised(Fake(10**6, start=77_000)), 4)]
    assert times[0] == 0 and times == sorted(set(times))
    assert all(pts % 10_000 == 0 for pts in times)


@pytest.mark.parametrize("jump", [-70_000, 70_000])
def test_a_clock_that_jumps_is_set_to_when_the_frame_arrived(jump: int) -> None:
    times = ((0, 5.0), (1, 5.01), (2 + jump, 5.5), (3 + jump, 5.51))
    image, unit = np.zeros((4, 4, 3), np.uint8), Fraction(1, 100)
    frames = [Frame(image, 0, 80_000 + pts, unit, arrived) for pts, arrived in times]
    clock = Timeline()
    stamped = [clock.stamped(frame) for frame in frames]
    assert [round(float(f.seconds), 3) for f in stamped] == [0.0, 0.01, 0.5, 0.51]
    assert [f.index for f in stamped] == [0, 1, 2, 3]


def test_a_still_picture_is_fine_when_frozen_is_off() -> None:
    source = supervised(Fake(10**6, still=True), patience=replace(QUICK, frozen=None))
    assert len(first(source, 60)) == 60 and source.status.reopened == 0


def test_a_picture_that_is_frozen_after_every_opening_is_given_up() -> None:
    patience = replace(QUICK, frozen=0.1, retry_for=0.5)
    source = supervised(Fake(10**6, still=True), patience=patience)
    frames: list[Frame] = []
    with pytest.raises(LostError, match="the same picture again and again"):
        frames.extend(source)
    assert source.status.reopened >= 1
    assert frames[-1].arrived - frames[0].arrived < 0.4, "none of them after the first opening"


def test_what_never_gave_a_frame_is_given_up_at_once() -> None:
    with pytest.raises(LostError, match=r"camera: nobody there; no frame for \d+ s, given up"):
        list(supervised(SourceError("nobody there")))


def test_what_opens_too_slowly_is_given_up() -> None:
    def slow() -> Fake:
        time.sleep(1.0)
        return Fake(1)

    with pytest.raises(LostError, match=r"does not open for 0\.3 s"):
        list(ReconnectingSource(slow, "camera", replace(QUICK, opening=0.3)))


def test_it_is_given_up_after_its_time() -> None:
    source = supervised(Fake(3), SourceError("nobody there"), patience=replace(QUICK, retry_for=0.4))
    frames: list[Frame] = []
    with pytest.raises(LostError, match=r"camera: nobody there; no frame for \d+ s, given up"):
        frames.extend(source)
    assert 1 <= len(frames) <= 3 and source.status.reopened >= 1


def test_with_time_to_retry_it_may_be_absent_at_first() -> None:
    absent = [SourceError("not yet")] * 3
    assert len(first(supervised(*absent, Fake(100), patience=replace(QUICK, retry_for=5)), 3)) == 3


def test_a_refused_login_is_not_tried_again() -> None:
    opened = []

    def refuse() -> Fake:
        opened.append(1)
        raise RefusedError("login refused")

    with pytest.raises(RefusedError, match="login refused"):
        list(ReconnectingSource(refuse, "camera", replace(QUICK, retry_for=5)))
    assert len(opened) == 1


def test_a_bug_is_not_taken_for_a_fault_of_the_source() -> None:
    def bug() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(supervised(Fake(2, bug)))


def test_a_read_that_never_returns_is_left_behind_and_counted() -> None:
    release = threading.Event()
    source = supervised(Fake(3, lambda: void(release)), Fake(10**6), patience=replace(QUICK, stall=0.3))
    try:
        found = first(source, 12)
        assert found[-1][1].abandoned >= 1
        assert found[-1][1].reopened >= 1
    finally:
        release.set()


def test_what_hangs_every_time_leaves_few_threads_behind() -> None:
    release = threading.Event()
    patience = replace(QUICK, stall=0.1, retry_for=8.0)
    source = supervised(Fake(1, lambda: void(release)), patience=patience)
    try:
        for _ in source:
            if source.status.abandoned == HANGING - 1:
                threading.Timer(1.5, source.close).start()
        assert source.status.abandoned == HANGING
        assert "never returned" in source.status.reason
    finally:
        release.set()


def void(release: threading.Event) -> None:
    release.wait()


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.35, 0.6])
@pytest.mark.parametrize("hang", [False, True], ids=["flapping", "hanging"])
def test_closing_ends_it_from_any_state(moment: float, hang: bool) -> None:
    release = threading.Event()
    part = Fake(3, (lambda: void(release)) if hang else fail)
    source = supervised(part, patience=replace(QUICK, retry_for=60, longest=0.4))
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    time.sleep(moment)
    source.close()
    reader.join(20)
    try:
        assert not reader.is_alive()
        assert source.status.state is State.ENDED
    finally:
        release.set()


def test_many_openings_leave_nothing() -> None:
    source = supervised(Fake(1), patience=replace(QUICK, first=0.0, longest=0.0, retry_for=60))
    found = first(source, 200)
    assert found[-1][1].reopened >= 199 and found[-1][1].abandoned == 0
    assert threading.active_count() < 10


def test_a_pause_of_the_whole_program_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real, jump = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + jump[0])

    def sleep_with_the_program() -> None:
        jump[0] = 30.0
        time.sleep(0.5)  # and the watch looks before the next frame comes
        raise SourceError("over")

    source = supervised(Fake(3, sleep_with_the_program), patience=replace(QUICK, retry_for=0.01))
    with pytest.raises(LostError, match="over"):
        list(source)
