"""The window as it is measured: run until somebody who looks at its figures has seen enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QGuiApplication

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.source import Source
from br2focus.realtime.stats import Statistics

from . import application, run_application
from .start import Start
from .window import Window

LOOK_MS = 50


def run_window(
    source: Source, view: ViewSettings, over: Callable[[Statistics, Callable[[], None]], bool]
) -> tuple[Statistics, str]:
    """Show ``source`` until ``over(figures, function that resets them)``; the figures, and model and device.

    Raises:
        FocusError: the run failed, or the window was closed before.
    """
    running = application()
    window = Window(Start("test", view, Path(), open_source=lambda *_: source))
    errors: list[BaseException] = []
    computes, seen = "", False
    window.session.failed.connect(errors.append)

    def look() -> None:
        nonlocal computes, seen
        run = window.session.run
        computes = run.computes if run is not None else ""
        seen = over(window.figures, window.reset_figures)
        if errors or seen:
            running.quit()  # closes the window

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(LOOK_MS)
    window.show()
    stopped = run_application(running, errors.append)
    timer.stop()
    window.end()
    if stopped is not None:
        raise stopped
    if errors:
        raise errors[0]
    if not seen:
        raise SettingsError("the window was closed before everything was measured")
    return window.figures, computes


def platform() -> str:
    """What shows windows: "offscreen", "xcb", "wayland"."""
    return QGuiApplication.platformName() or ""
