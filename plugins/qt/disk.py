"""Takes and snapshots, written beside the window's thread: a slow disk must not hold the picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from PyQt6.QtCore import QObject, pyqtSignal

from br2focus.models.errors import FocusError
from br2focus.realtime.settings import ViewSettings

from . import takes
from .bridge import Shown
from .session import Session


class Disk(QObject):
    """Begins and completes takes, keeps snapshots, and says how it went.

    Args:
        folder: where they go.
        session: whose takes they are.
    """

    said = pyqtSignal(str, bool)  # text, whether it is an error

    def __init__(self, folder: Path, session: Session) -> None:
        super().__init__()
        self._folder, self._session, self._recorder = folder, session, session.takes
        self._threads: list[threading.Thread] = []
        self._completing = False
        self._untold: Exception | None = None

    def record(self, wanted: Sequence[str]) -> None:
        """Begin a take of what is shown, or complete the one that is on.

        Raises:
            SinkError: a file cannot be made.
        """
        if self._recorder.seconds is not None:
            self.complete()
        elif self._completing:
            self.said.emit("The take before is still being completed.", False)
        elif self._session.run is not None and self._session.run.source is not None:
            info = self._session.run.source.info
            self._recorder.start(takes.open_takes(self._folder, wanted, info, self._session.drawn))

    def complete(self) -> None:
        """Complete the take, if one is on."""
        if self._recorder.seconds is not None and not self._completing:
            self._completing = True
            self._aside(self._complete)

    def keep(self, shown: Shown, settings: ViewSettings, source: str) -> None:
        """Keep a snapshot of what is shown."""
        self._aside(lambda: f"Kept {takes.save_snapshot(self._folder, shown, settings, source)}")

    def told(self) -> None:
        """The last message was shown."""
        self._untold = None

    def end(self) -> None:
        """Wait for everything.

        Raises:
            SinkError: something could not be written, and nobody was told yet.
        """
        for thread in self._threads:
            thread.join()
        self._recorder.stop()
        if self._untold is not None:
            raise self._untold

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
            except Exception as error:
                self._untold = error
                bug = "" if isinstance(error, FocusError) else "a bug in br2focus: "
                self.said.emit(f"{bug}{error}", True)

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=run, name="disk"))
        self._threads[-1].start()
