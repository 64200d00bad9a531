"""Which run is on: one at a time, the next begins when the one before let go of its camera."""

from __future__ import annotations

import time
from collections.abc import Callable

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from br2focus.realtime.live import LiveOptions
from br2focus.realtime.presets import ViewSettings
from br2focus.realtime.recorder import Recorder
from br2focus.realtime.source import Source

from .bridge import Run

PATIENCE_SECONDS = 3.0  # with a run that does not end; then the next begins beside it


class Session(QObject):
    """Starts, replaces and ends runs.

    Args:
        open_source: opens a source by its text.
        options: of live sources.

    Attributes:
        recorder: gets the results of every run.
        run: the one that is on, or None.
        source: its text.
    """

    ready = pyqtSignal()
    started = pyqtSignal()
    failed = pyqtSignal(object)
    ended = pyqtSignal()
    trouble = pyqtSignal(object)

    def __init__(
        self, open_source: Callable[[str, LiveOptions], Source], options: LiveOptions
    ) -> None:
        super().__init__()
        self._open, self.options = open_source, options
        self.recorder = Recorder()
        self.run: Run | None = None
        self.source = ""
        self._leaving: list[Run] = []
        self._next: tuple[str, ViewSettings] | None = None
        self._asked = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(50)
        self._timer.timeout.connect(self._begin_next)

    def switch(self, source: str, settings: ViewSettings) -> None:
        """Run ``source`` with ``settings`` as soon as what runs now has ended."""
        self._let_go()
        self._next, self._asked = (source, settings), time.monotonic()
        self.source = source
        self._timer.start()
        self._begin_next()

    def stop(self) -> None:
        """End what runs; nothing follows."""
        self._next = None
        self._timer.stop()
        self._let_go()

    def join(self, seconds: float) -> bool:
        """After `stop`: wait for every thread; False when one does not end."""
        until = time.monotonic() + seconds
        ended = [run.join(max(0.0, until - time.monotonic())) for run in self._leaving]
        return all(ended)

    def _let_go(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            for signal in (run.ready, run.failed, run.finished, run.trouble):
                signal.disconnect()
            run.stop()
            self._leaving.append(run)

    def _begin_next(self) -> None:
        self._leaving = [run for run in self._leaving if not run.join(0)]
        patient = time.monotonic() - self._asked < PATIENCE_SECONDS
        if self._next is None or (self._leaving and patient):
            return
        (source, settings), self._next = self._next, None
        self._timer.stop()
        self.run = run = Run(lambda: self._open(source, self.options), settings, self.recorder)
        run.ready.connect(self.ready)
        run.failed.connect(self.failed)
        run.finished.connect(self.ended)
        run.trouble.connect(self.trouble)
        self.started.emit()
        run.start()
