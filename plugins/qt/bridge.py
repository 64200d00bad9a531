"""The pump: one thread that runs a source through the pipeline and keeps the newest result for the window.

Qt's queue can never fill: ``ready`` carries nothing and is emitted only when none is pending, so a slow paint
drops results and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import QObject, pyqtSignal

from br2focus.realtime.engine import Engine
from br2focus.realtime.frame import FocusResult, Image
from br2focus.realtime.overlay import draw
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.presets import ViewSettings
from br2focus.realtime.recorder import Recorder
from br2focus.realtime.scores import Scores
from br2focus.realtime.smoothing import Smoothing
from br2focus.realtime.source import Source
from br2focus.realtime.supervised import State, Status, Supervised


@dataclass(frozen=True, eq=False)
class Shown:
    """A result with the picture to show.

    Attributes:
        result: frame, maps, timing.
        picture: the frame with its overlay, uint8 BGR; the frame's own read-only picture without one.
        overlay: seconds that drawing took.
    """

    result: FocusResult
    picture: Image
    overlay: float


class Run(QObject):
    """One source and one engine, from `start` until it ends, fails, or `stop` is called.

    Args:
        open_source: opens the source; called in the pump's thread, so it may take its time.
        settings: the engine is made from these; how it is drawn may change later, see `settings`.
        recorder: gets every result.

    Attributes:
        settings: read for every result; assign another one to change what is drawn or measured.
        scores: of the whole frame and of the regions.
    """

    ready = pyqtSignal()
    trouble = pyqtSignal(object)  # the recording failed, everything else goes on
    failed = pyqtSignal(object)
    finished = pyqtSignal()

    def __init__(
        self, open_source: Callable[[], Source], settings: ViewSettings, recorder: Recorder
    ) -> None:
        super().__init__()
        self.settings, self.scores = settings, Scores()
        self._open, self._recorder = open_source, recorder
        self._lock = threading.Lock()
        self._newest: Shown | None = None
        self._pending = self._stopped = False
        self._source: Source | None = None
        self._pipeline: Pipeline | None = None
        self._engine: Engine | None = None
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._pump, name="pump", daemon=True)

    def start(self) -> None:
        """Begin; signals arrive in the thread that made this object."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end, from any thread and in any state; ``finished`` follows."""
        self._stopped = True
        source = self._source
        if source is not None:
            source.close()

    def join(self, seconds: float) -> bool:
        """Wait for the end; False when it did not come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def take(self) -> Shown | None:
        """The newest result, once."""
        with self._lock:
            newest, self._newest, self._pending = self._newest, None, False
            return newest

    @property
    def source(self) -> Source | None:
        """The source, once it was made."""
        return self._source

    @property
    def status(self) -> Status:
        """What the source is doing; one that is no `Supervised` runs, or has ended."""
        if isinstance(self._source, Supervised):
            return self._source.status
        state = State.CONNECTING if self._source is None else State.RUNNING
        if not self._thread.is_alive():
            state = State.ENDED
        return Status(state, self._begun)

    @property
    def dropped(self) -> int:
        """Frames and results that were replaced by newer ones before the pump took them."""
        return self._pipeline.stats.dropped if self._pipeline else 0

    @property
    def results(self) -> int:
        """Results that the pump took; those that were not painted were dropped by the window."""
        return self._pipeline.stats.results if self._pipeline else 0

    @property
    def computes(self) -> str:
        """Model and device, e.g. "lite on cpu (openvino bf16)"."""
        engine = self._engine
        return f"{engine.info.name} on {engine.device}" if engine else self.settings.model

    @property
    def notices(self) -> list[str]:
        """What the source and the engine say of themselves, one line each."""
        source = getattr(self._source, "notices", ())
        return [*source, *(self._engine.notices if self._engine else [])]

    def set_smoothing(self, seconds: float | None) -> None:
        """Smooth by another time constant from the next frame on."""
        if self._pipeline is not None:
            self._pipeline.smoothing = _smoothing(seconds)

    def _pump(self) -> None:
        try:
            self._engine = Engine(self.settings.engine())
            self._source = self._open()
            if self._stopped:  # while it was being opened
                self._source.close()
            self._pipeline = Pipeline(
                self._source, self._engine, _smoothing(self.settings.smoothing)
            )
            with self._pipeline as pipeline:
                for result in pipeline:
                    if self._stopped:
                        break
                    self._pass_on(result)
        except BaseException as error:
            if not self._stopped:
                self.failed.emit(error)
        self.finished.emit()

    def _pass_on(self, result: FocusResult) -> None:
        settings, begun = self.settings, time.monotonic()
        picture = draw(result, settings.overlay, settings.style)
        shown = Shown(result, picture, time.monotonic() - begun)
        self.scores.add(result, settings.rois)
        with self._lock:
            self._newest = shown
            tell, self._pending = not self._pending, True
        if tell:
            self.ready.emit()
        try:
            self._recorder.write(result)
        except Exception as error:
            self.trouble.emit(error)


def _smoothing(seconds: float | None) -> Smoothing | None:
    return Smoothing(seconds) if seconds else None
