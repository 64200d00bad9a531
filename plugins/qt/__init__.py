"""The viewer: focus assist in a window. PyQt6 is imported here and below, nowhere else."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from br2focus.realtime.errors import SettingsError

if TYPE_CHECKING:
    from PyQt6.QtWidgets import QApplication

    from .start import Start

PLUGIN_PATH = "QT_QPA_PLATFORM_PLUGIN_PATH"


def prepare_qt() -> None:
    """See to it that Qt finds its own plugins and a screen: it would end the process otherwise.

    Raises:
        SettingsError: PyQt6 is not installed, or there is no screen.
    """
    if "cv2" in os.environ.get(PLUGIN_PATH, ""):
        del os.environ[PLUGIN_PATH]  # OpenCV names its own Qt, of another version
    try:
        import PyQt6.QtWidgets  # noqa: F401
    except ImportError as error:
        text = f"the window needs PyQt6 ({error}): pip install 'br2focus[viewer]', or add --headless"
        raise SettingsError(text) from error
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in screens):
        raise SettingsError("there is no screen here: add --headless")


def open_viewer(start: Start, on_ready: Callable[[Callable[[], None]], None]) -> bool:
    """Show the window until it is closed; False when a thread of it hangs in a driver.

    Args:
        start: what it shows first.
        on_ready: given a function that closes the window, from any thread.

    Raises:
        SettingsError: PyQt6 or a screen is missing.
        SinkError: what was to be written cannot be.
        FocusError: the window was closed when its source had failed for good, or been lost.
    """
    running = application()
    from .window import Window

    window = Window(start)
    on_ready(window.close_requested.emit)
    window.show()
    stopped = run_application(running, window.bug_found.emit)
    ended = window.end()
    if stopped is not None:
        raise stopped
    if window.error is not None:
        raise window.error
    return ended


def run_application(
    running: QApplication, report: Callable[[BaseException], None]
) -> KeyboardInterrupt | None:
    """Run Qt's loop until it quits; a second Ctrl-C ends it and is returned.

    A bug in a key's method, or in a thread, is passed to ``report``: Qt would end the process.
    """
    stopped: list[KeyboardInterrupt] = []

    def caught(kind: object, error: BaseException, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            stopped.append(error)
            running.quit()
        else:
            report(error)

    before, before_thread = sys.excepthook, threading.excepthook
    sys.excepthook = caught
    threading.excepthook = lambda args: report(args.exc_value) if args.exc_value else None
    try:
        running.exec()
    finally:
        sys.excepthook, threading.excepthook = before, before_thread
    return stopped[0] if stopped else None


def application() -> QApplication:
    """Qt's application, made if there is none yet.

    Raises:
        SettingsError: PyQt6 or a screen is missing.
    """
    prepare_qt()
    from PyQt6.QtWidgets import QApplication

    made = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(made, QApplication)
    made.setApplicationName("br2focus")
    return made


def default_folder() -> Path:
    """Where takes and snapshots go unless told otherwise: the user's videos, else the home folder."""
    from platformdirs import user_videos_path

    videos = user_videos_path()
    return videos if videos.is_dir() else Path.home()
