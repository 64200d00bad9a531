"""Takes and snapshots, written beside the window's thread: a slow disk must not hold the picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from PyQt6.QtCore import QObject, pyqtSignal

from br2focus.models.errors import FocusError
from br2focus.realtime.presets import ViewSettings
from br2focus.realtime.recorder import Recorder

from . import takes
from .bridge import Run, Shown


class Disk(QObject):
    """Begins and completes takes, keeps snapshots, and says how it went.

    Args:
        folder: where they go.
        recorder: of the takes.
    """

    said = pyqtSignal(str, bool)  # text, whether it is an error

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        super().__init__()
        self._folder, self._recorder = folder, recorder
        self._threads: list[threading.Thread] = []
        self._completing = False

    def record(self, run: Run, wanted: Sequence[str]) -> None:
        """Begin a take of what ``run`` shows, or complete the one that is on.

        Raises:
            SinkError: a file cannot be made.
        """
        if self._recorder.seconds is not None:
            self.complete()
        elif self._completing:
            self.said.emit("The take before is still being completed.", False)
        elif run.source is not None:
            sinks = takes.open_takes(self._folder, wanted, run.source.info, run.drawn)
            self._recorder.start(sinks)

    def complete(self) -> None:
        """Complete the take, if one is on."""
        if self._recorder.seconds is not None and not self._completing:
            self._completing = True
            self._aside(self._complete)

    def keep(self, shown: Shown, settings: ViewSettings, source: str) -> None:
        """Keep a snapshot of what is shown."""
        self._aside(lambda: f"Kept {takes.save_snapshot(self._folder, shown, settings, source)}")

    def end(self) -> None:
        """Wait for everything.

        Raises:
            SinkError: a take cannot be completed.
        """
        for thread in self._threads:
            thread.join()
        self._recorder.stop()

    def _complete(self) -> str:
        try:
            paths = self._recorder.stop()
        finally:
            self._completing = False
        return f"Recorded {', '.join(map(str, paths))}" if paths else "Nothing was recorded."

    def _aside(self, work: Callable[[], str]) -> None:
        def run() -> None:
            try:
                self.said.emit(work(), False)
            except FocusError as error:
                self.said.emit(str(error), True)
            except Exception as error:
                self.said.emit(f"a bug in br2focus: {type(error).__name__}: {error}", True)

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=run, name="disk"))
        self._threads[-1].start()
