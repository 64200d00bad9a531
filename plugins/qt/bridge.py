"""The pump: one thread that runs a source through the pipeline and keeps the newest result for the window.

Qt's queue can never fill: ``ready`` carries nothing and is emitted only when none is pending, so a slow paint
drops results and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PyQt6.QtCore import QObject, pyqtSignal

from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.radii import coc_of
from br2focus.realtime.frame import Image
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.result import FocusResult
from br2focus.realtime.scores import Scores
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.recorder import Recorder
from br2focus.realtime.sources.live.connection import State, Status
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.source import Source


@dataclass(frozen=True, eq=False)
class Shown:
    """A result with the picture to show.

    Attributes:
        result: frame, maps, timing.
        picture: the frame with its overlay, uint8 BGR; the frame's own read-only picture without one.
        scores: of this frame, the newest and the best value of each region.
        overlay: seconds that drawing and scoring took.
        made: `time.monotonic` when it was ready to be shown.
    """

    result: FocusResult
    picture: Image
    scores: dict[str, tuple[float, float]]
    overlay: float
    made: float


class ViewerRun(QObject):
    """One source and one engine, from `start` until it ends, fails, or `stop` is called.

    Args:
        open_source: opens the source; called in the pump's thread, so it may take its time.
        settings: the engine is made from these; the rest may change later.
        recorders: get every result.

    Attributes:
        settings: how it is computed and drawn; `change` takes others.
        scores: of the whole frame and of the regions.
        source: once it was made.
    """

    # Each carries this object first: whoever listens may have gone on to another run.
    ready = pyqtSignal(object)
    trouble = pyqtSignal(object, object)  # a recording failed, everything else goes on
    failed = pyqtSignal(object, object)
    finished = pyqtSignal(object)

    def __init__(
        self,
        open_source: Callable[[], Source],
        settings: ViewSettings,
        recorders: Sequence[Recorder],
    ) -> None:
        super().__init__()
        self.settings, self.scores = settings, Scores()
        self.source: Source | None = None
        self._open, self._recorders = open_source, recorders
        self._lock = threading.Lock()
        self._newest: Shown | None = None
        self._drawn: Shown | None = None
        self._pending = self._stopped = False
        self._replaced = 0
        self._pipeline: Pipeline | None = None
        self._engine: Engine | None = None
        self._begun = time.monotonic()
        self._end: Status | None = None
        self._thread = threading.Thread(target=self._pump, name="pump", daemon=True)

    def start(self) -> None:
        """Begin; signals arrive in the thread that made this object."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end, from any thread and in any state; ``finished`` follows."""
        self._stopped = True
        source = self.source
        if source is not None:
            threading.Thread(target=source.close, name="close").start()  # a driver takes its time

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
    def status(self) -> Status:
        """What the source is doing; a run that is over has ended, for the reason of its source."""
        if self._end is not None:
            return self._end
        if isinstance(self.source, ReconnectingSource):
            return self.source.status
        state = State.CONNECTING if self.source is None else State.RUNNING
        return Status(state, self._begun)

    @property
    def dropped(self) -> int:
        """Frames and results that were replaced by newer ones before the window took them."""
        return self._replaced + (self._pipeline.dropped if self._pipeline else 0)

    @property
    def results(self) -> int:
        """Results that the pump took."""
        return self._pipeline.stats.results if self._pipeline else 0

    @property
    def computes(self) -> str:
        """Model and device, e.g. "lite on cpu (openvino bf16)"."""
        engine = self._engine
        return f"{engine.info.name} on {engine.device}" if engine else self.settings.model

    @property
    def notices(self) -> list[str]:
        """What the source and the engine say of themselves, one line each."""
        source = self.source
        lines = [] if source is None else list(source.notices)
        if isinstance(source, ReconnectingSource) and (reopened := source.status.reopened):
            lines.append(f"reopened {reopened} times")
        if source is not None and source.damaged:
            lines.append(f"{source.damaged} damaged packets or frames")
        return [*lines, *(self._engine.notices if self._engine else [])]

    def change(self, settings: ViewSettings) -> None:
        """Draw, measure, smooth and refine by ``settings`` from the next frame on."""
        before, self.settings = self.settings, settings
        if self._engine is not None:
            self._engine.reference.coc = coc_of(settings.coc)
        if self._pipeline is not None:
            self._pipeline.refine = settings.refine
            if settings.smoothing != before.smoothing:
                self._pipeline.smoothing = settings.smoothing

    def drawn(self, result: FocusResult) -> Image:
        """``result`` as it is shown; what was drawn already is not drawn again."""
        drawn = self._drawn
        if drawn is not None and drawn.result.frame.image is result.frame.image:
            return drawn.picture
        return draw(result, self.settings.overlay, self.settings.style)

    def _pump(self) -> None:
        reason = "the source ended"
        try:
            self._engine = Engine(replace(self.settings, coc=None))
            self.source = self._open()
            if self._stopped:  # while it was being opened
                self.source.close()
            smoothing, mode = self.settings.smoothing, self.settings.refine
            self._engine.reference.coc = coc_of(self.settings.coc)
            with Pipeline(self.source, self._engine, smoothing, refine=mode) as self._pipeline:
                for result in self._pipeline:
                    if self._stopped:
                        break
                    self._pass_on(result)
        except BaseException as error:
            reason = str(error)
            if not self._stopped:
                self.failed.emit(self, error)
        if self._engine is not None:
            self._engine.close()  # the next run has one of its own
        self._end = replace(self.status, state=State.ENDED, since=time.monotonic(), reason=reason)
        self.finished.emit(self)

    def _pass_on(self, result: FocusResult) -> None:
        settings, begun = self.settings, time.monotonic()
        picture = draw(result, settings.overlay, settings.style)
        self.scores.add(result, settings.rois)
        made = time.monotonic()
        self._drawn = shown = Shown(result, picture, self.scores.now(), made - begun, made)
        with self._lock:
            self._replaced += self._newest is not None
            self._newest = shown
            tell, self._pending = not self._pending, True
        if tell:
            self.ready.emit(self)
        for recorder in self._recorders:
            try:
                recorder.write(result, self.source)
            except Exception as error:
                self.trouble.emit(self, error)
