"""A window on a fake source, off the screen: ``viewer()`` opens one and waits for its first picture."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from br2focus.plugins.qt.start import Start
from br2focus.plugins.qt.window import Window
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.live.open import LiveOptions
from br2focus.realtime.sources.source import Source
from br2focus.realtime.video_info import SourceInfo

SIZE = (160, 120)


def picture_of(index: int, level: int = 0) -> Image:
    """uint8 BGR: noise on the left, flat on the right, and a column that says which frame it is."""
    image = np.full((SIZE[1], SIZE[0], 3), 60 + level, np.uint8)
    noise = np.random.default_rng(1).integers(0, 255, (SIZE[1], SIZE[0] // 2, 3))
    image[:, : SIZE[0] // 2] = noise
    image[:, -8:] = index % 256
    return image


class Fake(Source):
    """A live source that gives ``count`` pictures at ``rate`` a second and then ends, fails or waits."""

    def __init__(
        self,
        name: str = "fake",
        *,
        rate: float = 100.0,
        count: int = 10**9,
        error: Exception | None = None,
        then_waits: bool = False,
        level: int = 0,
    ) -> None:
        self.info = SourceInfo(name, size=SIZE, rate=Fraction(30), live=True)
        self.rate, self.count, self.error, self.then_waits = rate, count, error, then_waits
        self.level, self.closed, self.given = level, threading.Event(), 0

    def close(self) -> None:
        self.closed.set()

    def __iter__(self) -> Iterator[Frame]:
        while self.given < self.count and not self.closed.wait(1 / self.rate):
            image = picture_of(self.given, self.level)
            yield Frame(image, self.given, self.given, Fraction(1, 100), time.monotonic())
            self.given += 1
        if self.then_waits:
            self.closed.wait(60)
        if self.error is not None and not self.closed.is_set():
            raise self.error


Open = Callable[[str, LiveOptions], Source]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the user stay out of it."""
    monkeypatch.setenv("BR2FOCUS_CONFIG", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def ready(model: str) -> str:
    """The small model, converted: no window has to wait for that."""
    Engine(EngineSettings(model, "cpu"))(picture_of(0))
    return model


@pytest.fixture
def viewer(qtbot, ready: str, tmp_path: Path) -> Iterator[Callable[..., Window]]:
    """``viewer(open_source, waits=True, **fields of ViewSettings)``; every window is closed and joined."""
    windows: list[Window] = []

    def opened(
        open_source: Open = lambda text, options: Fake(), *, waits: bool = True, **fields: object
    ) -> Window:
        settings = ViewSettings(**{"model": ready, "device": "cpu", **fields})  # type: ignore[arg-type]
        window = Window(Start("fake", settings, tmp_path, open_source=open_source))
        windows.append(window)
        window.resize(900, 600)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)  # shortcuts need it
        if waits:
            qtbot.waitUntil(lambda: window.picture.shown is not None, timeout=30_000)
        return window

    yield opened
    for window in windows:
        window.close()
        assert window.end()
