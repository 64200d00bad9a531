"""Which run is on: one at a time, the next begins when the one before let go of its camera."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from br2focus.realtime.frame import Image
from br2focus.realtime.result import FocusResult
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.recorder import Recorder
from br2focus.realtime.sources.live.open import LiveOptions
from br2focus.realtime.sources.source import Source

from .bridge import ViewerRun

PATIENCE_SECONDS = 3.0  # with a run that does not end; then the next begins beside it


class Session(QObject):
    """Starts, replaces and ends runs. Signals are those of the run that is on, never of one before.

    Args:
        open_source: opens a source by its text.
        options: of live sources.

    Attributes:
        takes, files: recorders of every run: switched by the user, and on from the start.
        run: the one that is on, or None.
        source: its text, or that of the one that comes.
    """

    ready = pyqtSignal()
    started = pyqtSignal()
    failed = pyqtSignal(object)
    ended = pyqtSignal()
    trouble = pyqtSignal(object)

    def __init__(self, open_source: Callable[[str, LiveOptions], Source], options: LiveOptions) -> None:
        super().__init__()
        self._open, self.options = open_source, options
        self.takes, self.files = Recorder(), Recorder()
        self.run: ViewerRun | None = None
        self.source = ""
        self._gave = ""
        self._leaving: list[ViewerRun] = []
        self._next: tuple[str, ViewSettings] | None = None
        self._asked = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(50)
        self._timer.timeout.connect(self._begin_next)

    def switch(self, source: str, settings: ViewSettings) -> None:
        """ViewerRun ``source`` with ``settings`` as soon as what runs now has ended."""
        self._let_go()
        self._next, self._asked = (source, settings), time.monotonic()
        self.source = source
        self._timer.start()
        self._begin_next()

    def drawn(self, result: FocusResult) -> Image:
        """``result`` as the window shows it now, whichever run it is of."""
        run = self.run
        return run.drawn(result) if run is not None else result.frame.image

    def gave_a_picture(self) -> None:
        """The source is there: opened again with another model, it is waited for as one that comes back."""
        self._gave = self.source

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
            run.stop()
            self._leaving.append(run)

    def _begin_next(self) -> None:
        self._leaving = [run for run in self._leaving if not run.join(0)]
        patient = time.monotonic() - self._asked < PATIENCE_SECONDS
        if self._next is None or (self._leaving and patient):
            return
        (source, settings), self._next = self._next, None
        self._timer.stop()
        options = self.options
        if source == self._gave and options.retry_for is None:
            options = replace(options, retry_for=math.inf)
        recorders = (self.takes, self.files)
        self.run = run = ViewerRun(lambda: self._open(source, options), settings, recorders)
        run.ready.connect(self._ready)
        run.failed.connect(self._failed)
        run.finished.connect(self._finished)
        run.trouble.connect(self._trouble)
        self.started.emit()
        run.start()

    # Events of a run that was replaced may still be in Qt's queue.

    def _ready(self, run: ViewerRun) -> None:
        if run is self.run:
            self.ready.emit()

    def _failed(self, run: ViewerRun, error: BaseException) -> None:
        if run is self.run:
            self.failed.emit(error)

    def _finished(self, run: ViewerRun) -> None:
        if run is self.run:
            self.ended.emit()

    def _trouble(self, run: ViewerRun, error: BaseException) -> None:
        self.trouble.emit(error)  # of a recording, which outlives its run
