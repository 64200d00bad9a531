"""The window is closed, or another source chosen, in every state, again and again: nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from br2focus.plugins.qt import bridge
from br2focus.plugins.qt.start import Start
from br2focus.plugins.qt.window import Window
from br2focus.realtime.engine.radii import Reference
from br2focus.realtime.errors import ComputeError, SourceError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.live.connection import ReconnectPolicy, State
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.source import Source

from .conftest import SIZE, Fake

TIMES = 25  # of each of eight states


class StubEngine:
    """An engine without a network: what is tested here is the end of threads."""

    def __init__(self, settings: object) -> None:
        self.info = type("Info", (), {"name": "stub"})
        self.device, self.seconds, self.notices = "stub", 0.0, []
        self.reference = Reference()

    def stream(
        self, frames: Iterator[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        for frame in frames:
            yield frame, BlurMap(np.zeros((SIZE[1], SIZE[0]), np.float32))

    def close(self) -> None: ...


class FailingEngine(StubEngine):
    def stream(
        self, frames: Iterator[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        for _ in frames:
            raise ComputeError("the network failed")
        yield from ()


def quick(open_source: Callable[[], Source]) -> ReconnectingSource:
    return ReconnectingSource(open_source, "camera", ReconnectPolicy(opening=0.2, stall=0.2, first=0.05))


def flapping() -> Source:
    if threading.current_thread().name and time.monotonic() % 0.02 < 0.01:
        raise SourceError("unplugged")
    return Fake(count=3)


def stuck() -> Source:
    time.sleep(0.4)
    return Fake()


STATES: dict[str, Callable[[], Source]] = {
    "opening": stuck,
    "connecting": lambda: quick(stuck),
    "no picture yet": lambda: Fake(count=0, then_waits=True),
    "running": lambda: Fake(),
    "stalled": lambda: quick(lambda: Fake(count=4, then_waits=True)),
    "flapping": lambda: quick(flapping),
    "failed": lambda: Fake(count=2, error=SourceError("gone")),
    "ended": lambda: Fake(count=2),
}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("state", STATES)
def test_closed_in_every_state(qtbot, tmp_path, monkeypatch, state):
    monkeypatch.setattr(bridge, "Engine", StubEngine)
    threads, files = threading.active_count(), open_files()
    for number in range(TIMES):
        window = Window(Start("fake", ViewSettings(), tmp_path, open_source=lambda *_: STATES[state]()))
        window.show()
        qtbot.wait(number * 5 % 60)
        begun = time.monotonic()
        window.close()
        assert window.end(), "a thread hangs"
        assert time.monotonic() - begun < 3
        window.deleteLater()
    qtbot.waitUntil(lambda: threading.active_count() <= threads, timeout=3000)
    qtbot.waitUntil(lambda: open_files() <= files + 2, timeout=3000)


def test_switched_through_all_states(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "Engine", StubEngine)
    threads = threading.active_count()
    start = Start("running", ViewSettings(), tmp_path, open_source=lambda text, _: STATES[text]())
    window = Window(start)
    window.show()
    for number in range(5 * len(STATES)):
        window.bar.source.picked.emit(list(STATES)[number % len(STATES)])
        qtbot.wait(number * 7 % 40)
    window.bar.source.picked.emit("running")
    qtbot.waitUntil(lambda: window.picture.shown is not None, timeout=10_000)
    assert window.status.state is State.RUNNING
    window.close()
    assert window.end()
    qtbot.waitUntil(lambda: threading.active_count() <= threads, timeout=3000)


@pytest.mark.parametrize("stage", ["engine", "compute", "source"])
def test_an_error_of_any_stage_is_a_banner(qtbot, tmp_path, monkeypatch, stage):
    def refuses(settings: object) -> None:
        raise ComputeError("no device")

    engines = {"engine": refuses, "compute": FailingEngine, "source": StubEngine}
    monkeypatch.setattr(bridge, "Engine", engines[stage])

    def opened(*_: object) -> Source:
        if stage == "source":
            raise SourceError("camera 7: not there")
        return Fake()

    window = Window(Start("fake", ViewSettings(), tmp_path, open_source=opened))
    window.show()
    said = {"engine": "no device", "compute": "network failed", "source": "not there"}
    qtbot.waitUntil(lambda: said[stage] in window.banner.text)
    qtbot.waitUntil(lambda: window.status.state is State.ENDED)
    window.close()
    assert window.end()
