"""The window as it is measured: run until somebody who looks at its figures has seen enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QGuiApplication

from br2focus.realtime.presets import ViewSettings
from br2focus.realtime.source import Source
from br2focus.realtime.stats import Snapshot

from . import application
from .start import Start
from .window import Window

LOOK_MS = 50


def run_window(
    source: Source, view: ViewSettings, over: Callable[[Snapshot], bool]
) -> tuple[Snapshot, str]:
    """Show ``source`` until ``over(figures)``; the figures, and model and device.

    Raises:
        FocusError: the run failed.
    """
    running = application()
    window = Window(Start("test", view, Path(), open_source=lambda *_: source))
    errors: list[BaseException] = []
    computes = ""
    window.session.failed.connect(errors.append)

    def look() -> None:
        nonlocal computes
        run = window.session.run
        computes = run.computes if run is not None else ""
        if errors or over(window.figures):
            running.quit()  # closes the window

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(LOOK_MS)
    window.show()
    running.exec()
    timer.stop()
    window.end()
    if errors:
        raise errors[0]
    return window.figures, computes


def platform() -> str:
    """What shows windows: "offscreen", "xcb", "wayland"."""
    return QGuiApplication.platformName() or ""
