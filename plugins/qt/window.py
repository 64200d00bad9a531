"""The window: joins what runs, the picture, the graph and the panel."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PyQt6.QtCore import QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QAction, QCloseEvent, QKeySequence, QResizeEvent
from PyQt6.QtWidgets import QHBoxLayout, QMainWindow, QVBoxLayout, QWidget

from br2focus.models import checkpoint
from br2focus.models.errors import CheckpointError, FocusError
from br2focus.realtime.errors import ComputeError, SettingsError
from br2focus.realtime.presets import load_preset, preset_path, save_preset
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sources.live.connection import State, Status
from br2focus.realtime.sources.live.open import CameraMode
from br2focus.realtime.stats import Statistics, StatsCollector
from br2focus.realtime.video_info import SourceInfo

from . import hud, theme
from .bridge import Shown
from .camera_box import CameraBox
from .changes import CHANGES, following, went_back
from .disk import Disk
from .graph import Graph
from .hotkeys import HOTKEYS, REPEATING, Sheet
from .panel import Panel
from .picture import PictureView
from .placement import grown, moved
from .prompts import ask_preset, ask_preset_name
from .session import Session
from .start import Start
from .topbar import Banner, TopBar

HUD_MS, GRAPH_MS = 200, 66
LEAVE_SECONDS = 2.5  # that the end of a source may take before the window goes without it
PAN = 0.1  # of what is visible, by a key
NUDGE = 4  # pixels of the picture, by a key
DEVICES = ("auto", "cpu", *(["cuda"] if Path("/dev/nvidia0").exists() else []))


class Window(QMainWindow):
    """Focus assist. Call `end` after it was closed.

    Attributes:
        session: what runs.
        settings: how it is computed and shown; keys and panel change them.
        error: why nothing runs any more, None while something does.
        bar, banner, picture, graph, panel, camera, sheet: its parts.
    """

    close_requested = pyqtSignal()  # from any thread
    bug_found = pyqtSignal(object)  # from any thread

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start, self.settings = start, start.settings
        for sink in self._sinks(SourceInfo(start.source, live=True)):
            sink.abort()  # what cannot be written is known before anything is opened
        self._good: ViewSettings | None = None  # the last that gave a picture
        self._asked = start.settings  # those that made the engine
        self._stats, self._dropped = StatsCollector(), 0
        self._hud_on, self._first, self._ever = True, True, False
        self.error: BaseException | None = None
        self.session = Session(start.open_source, start.options)
        self._disk = Disk(start.folder, self.session)
        self._lay_out()
        self._connect()
        acts = self._acts()
        for hotkey in HOTKEYS:
            self._add_key(hotkey.act, hotkey.key, acts)
        self._timers = [self._every(HUD_MS, self._tick), self._every(GRAPH_MS, self.graph.update)]
        self.bar.source.refresh()
        self._show_settings()
        self.session.switch(start.source, start.settings)

    # --- making it ----------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.setWindowTitle("br2focus")
        self.bar, self.banner, self.graph = TopBar(), Banner(), Graph()
        self.picture = PictureView(self._was_painted)
        self.panel = Panel(list(checkpoint.shipped()), DEVICES)
        self.camera = CameraBox()
        self.panel.add(self.camera)
        middle, column = QWidget(), QVBoxLayout()
        for widget in (self.bar, self.banner, self.picture, self.graph):
            column.addWidget(widget, 1 if widget is self.picture else 0)
        row = QHBoxLayout(middle)
        row.addLayout(column, 1)
        row.addWidget(self.panel)
        for layout in (row, column):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(0)
        self.setCentralWidget(middle)
        self.sheet = Sheet(self)
        self.picture.setFocus()

    def _connect(self) -> None:
        session, bar = self.session, self.bar
        session.ready.connect(self._take)
        session.started.connect(self._began)
        session.failed.connect(self._failed)
        session.ended.connect(self._ended)
        session.trouble.connect(self._say_error)
        self._disk.said.connect(self._say)
        self.panel.changed.connect(self._change)
        self.picture.rois_changed.connect(lambda rois: self._change(self._with(rois=rois)))
        self.picture.view_changed.connect(self._tick)
        self.camera.mode_picked.connect(self._pick_mode)
        self.camera.trouble.connect(self._say_error)
        bar.source.picked.connect(self._pick)
        bar.source.left.connect(self.picture.setFocus)
        bar.record_pressed.connect(lambda: self._record("annotated"))
        bar.snapshot_pressed.connect(self._snapshot)
        bar.sheet_pressed.connect(self._toggle_sheet)
        self.close_requested.connect(self.close)
        self.bug_found.connect(self._say_error)

    def _add_key(self, act: str, key: str, acts: dict[str, Callable[[], object]]) -> None:
        action = QAction(self)
        action.setObjectName(act)
        action.setShortcut(QKeySequence(key))
        action.setAutoRepeat(act in REPEATING)
        if act in CHANGES:
            action.triggered.connect(lambda: self._change(CHANGES[act](self.settings)))
        else:
            action.triggered.connect(lambda: acts[act]())
        owner: QWidget = self
        if act.startswith("pan_"):  # arrows belong to the controls of the panel as well
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            owner = self.picture
        owner.addAction(action)

    def _acts(self) -> dict[str, Callable[[], object]]:
        """What each key does that is no mere change of the settings."""
        view, panel, graph = self.picture, self.panel, self.graph
        nudges = {"left": (-NUDGE, 0), "right": (NUDGE, 0), "up": (0, -NUDGE), "down": (0, NUDGE)}
        pans = {"left": (-PAN, 0.0), "right": (PAN, 0.0), "up": (0.0, -PAN), "down": (0.0, PAN)}
        acts: dict[str, Callable[[], object]] = {
            "toggle_before": lambda: self._set_view(before=not view.before),
            "punch_in": view.punch_in,
            "zoom_in": lambda: view.step_zoom(1),
            "zoom_out": lambda: view.step_zoom(-1),
            "zoom_fit": lambda: view.zoom_to(None),
            "toggle_clean": lambda: self._set_view(clean=not view.clean),
            "toggle_hud": self._toggle_hud,
            "toggle_graph": lambda: graph.setVisible(graph.isHidden()),
            "toggle_panel": lambda: panel.setVisible(panel.isHidden()),
            "toggle_full_screen": self._toggle_full_screen,
            "next_theme": theme.toggle,
            "add_region": lambda: view.add_roi(),
            "next_region": view.select_next,
            "grow_region": lambda: view.change_selected(lambda r, size: grown(r, NUDGE, size)),
            "shrink_region": lambda: view.change_selected(lambda r, size: grown(r, -NUDGE, size)),
            "remove_region": lambda: view.remove(view.selected),
            "remove_regions": lambda: view.remove(),
            "reset_best": lambda: self._reset_best(view.selected or None),
            "reset_bests": lambda: self._reset_best(None),
            "record_annotated": lambda: self._record("annotated"),
            "record_clean": lambda: self._record("clean"),
            "record_both": lambda: self._record("annotated", "clean"),
            "snapshot": self._snapshot,
            "choose_source": self.bar.source.edit,
            "reopen": lambda: self._pick(self.session.source),
            "next_model": lambda: self._change(self._with(model=self.panel.next_model())),
            "next_device": lambda: self._change(self._with(device=following(DEVICES, self.settings.device))),
            "save_preset": self._save_preset,
            "load_preset": self._load_preset,
            "toggle_sheet": self._toggle_sheet,
            "leave": self._leave,
            "close": self.close,
        }
        for way, by in pans.items():
            acts[f"pan_{way}"] = lambda by=by: view.pan(*by)  # type: ignore[misc]
        for way, shift in nudges.items():
            acts[f"move_{way}"] = lambda shift=shift: view.change_selected(  # type: ignore[misc]
                lambda roi, size: moved(roi, shift, size)
            )
        return acts

    def _every(self, milliseconds: int, call: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.timeout.connect(call)
        timer.start(milliseconds)
        return timer

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for the picture, the graph and the panel."""
        return QSize(1280, 800)

    # --- what runs ----------------------------------------------------------------------------

    def _with(self, **changes: object) -> ViewSettings:
        return replace(self.settings, **changes)  # type: ignore[arg-type]

    def _change(self, settings: ViewSettings) -> None:
        """Take new settings; another model, device or size makes a new run."""
        before, self.settings = self.settings, settings
        run = self.session.run
        if not settings.same_engine(before):
            self._asked = settings
            self.session.switch(self.session.source, settings)
        elif run is not None:
            run.change(settings)
        if self._good is not None and self._good.same_engine(settings):
            self._good = settings
        self._show_settings()

    def _show_settings(self) -> None:
        self.panel.show_settings(self.settings)
        if self.picture.rois != self.settings.rois:
            self.picture.rois = self.settings.rois
        self._tick()

    def _pick(self, source: str) -> None:
        if source != self.session.source:  # another camera has other modes
            self.session.options = replace(self.session.options, mode=None)
        self.picture.clear()
        self.session.switch(source, self.settings)
        self.picture.setFocus()

    def _pick_mode(self, mode: CameraMode | None) -> None:
        self.session.options = replace(self.session.options, mode=mode)
        self._pick(self.session.source)

    def _began(self) -> None:
        run = self.session.run
        assert run is not None
        run.change(self.settings)  # they may have changed while the one before ended
        self._stats, self._first, self.error = StatsCollector(), True, None
        self.graph.scores = run.scores
        self.bar.source.show_source(self.session.source)
        self.camera.look_at(self.session.source, self.session.options.mode)
        self._tick()

    def _take(self) -> None:
        run = self.session.run
        shown = run.take() if run is not None else None
        if run is None or shown is None:
            return
        if self._first:
            self._first, self._good = False, self.settings
            self.session.gave_a_picture()
            if not self._ever:
                self._ever = True
                self._got_first()
        self.picture.show_result(shown)

    def _got_first(self) -> None:
        """The first picture of all: what was asked for at the start begins."""
        run, duration = self.session.run, self._start.duration
        assert run is not None and run.source is not None
        if duration is not None:
            QTimer.singleShot(round(1000 * duration), self.close)
        try:
            self.session.files.start(self._sinks(run.source.info))
        except FocusError as error:
            self.session.files.error = error
            self._say_error(error)

    def _sinks(self, info: SourceInfo) -> list[FileSink]:
        return list(self._start.sinks(info, lambda: self.settings))

    def _failed(self, error: BaseException) -> None:
        """Say why; settings whose engine does not work give way to the last that did, all of them."""
        self.error = error
        self._say_error(error)
        good, self._good = self._good, None
        if good is None or good.same_engine(self.settings):
            return
        if isinstance(error, ComputeError | CheckpointError | SettingsError):
            self.settings = went_back(self.settings, self._asked, good)
            self.session.switch(self.session.source, self.settings)
            self._show_settings()

    def _ended(self) -> None:
        """Nothing comes any more: what was recorded is complete."""
        self._disk.complete()
        self._tick()

    # --- what is shown ------------------------------------------------------------------------

    def _was_painted(self, shown: Shown, begun: float) -> None:
        now, timing = time.monotonic(), shown.result.timing
        between = shown.made - shown.overlay - timing.ready
        later = {"overlay": shown.overlay, "screen": begun - shown.made + between}
        self._stats.count(timing, **later, paint=now - begun)

    @property
    def figures(self) -> Statistics:
        """Rate, drops and age of what was painted."""
        run = self.session.run
        self._dropped = run.dropped if run is not None else self._dropped
        return self._stats.snapshot(self._dropped)

    def reset_figures(self) -> None:
        """Count rate and age from now on."""
        self._stats.reset()

    @property
    def status(self) -> Status:
        """What the source is doing; between two of them, the next is connecting."""
        run = self.session.run
        return run.status if run is not None else Status(State.CONNECTING, time.monotonic())

    def _tick(self) -> None:
        """Figures, badges and the state of the source; several times a second."""
        view, run, session = self.picture, self.session.run, self.session
        view.status = self.status
        view.state = hud.state_text(view.status, self.settings.model, shows=not self._first)
        size = view.shown.result.frame.size if view.shown else (0, 0)
        name = self.bar.source.name_of(session.source)
        computes = run.computes if run is not None else self.settings.model
        reference = view.shown.result.reference if view.shown else None
        lines = hud.figures(name, size, computes, self.figures, reference)
        notices = run.notices[-3:] if run is not None else []
        view.lines = [*lines, *notices] if self._hud_on else []
        view.badges = hud.badges(
            self.settings, self.picture, takes=session.takes.seconds, files=session.files.seconds
        )
        self.bar.record.setChecked(session.takes.seconds is not None)
        view.update()

    def _set_view(self, **flags: bool) -> None:
        for name, on in flags.items():
            setattr(self.picture, name, on)
        if "clean" in flags:
            for widget in (self.bar, self.panel, self.graph):
                widget.setVisible(not flags["clean"])
        self._tick()

    def _toggle_hud(self) -> None:
        self._hud_on = not self._hud_on
        self._tick()

    def _toggle_full_screen(self) -> None:
        self.showNormal() if self.isFullScreen() else self.showFullScreen()

    def _toggle_sheet(self) -> None:
        self.sheet.setGeometry(self.rect())
        self.sheet.setVisible(self.sheet.isHidden())
        self.sheet.raise_()

    def _leave(self) -> None:
        """One step out, the topmost first."""
        if not self.sheet.isHidden():
            self.sheet.hide()
        elif not self.banner.isHidden():
            self.banner.hide()
        elif self.picture.clean:
            self._set_view(clean=False)
        elif self.isFullScreen():
            self.showNormal()
        self.bar.source.show_source(self.session.source)
        self.picture.setFocus()

    def _reset_best(self, name: str | None) -> None:
        if self.session.run is not None:
            self.session.run.scores.reset(name)

    # --- files --------------------------------------------------------------------------------

    def _record(self, *wanted: str) -> None:
        """Begin a recording, or end the one that runs."""
        run = self.session.run
        if run is None or self.picture.shown is None:
            self.banner.say("There is no picture to record yet.")
        else:
            self._try(lambda: self._disk.record(wanted))
        self._tick()

    def _snapshot(self) -> None:
        shown = self.picture.shown
        if shown is None:
            self.banner.say("There is no picture to keep yet.")
        else:
            self._disk.keep(shown, self.settings, self.bar.source.name_of(self.session.source))

    def _save_preset(self) -> None:
        if name := ask_preset_name(self):
            self._try(lambda: save_preset(self.settings, preset_path(name)), f"Saved preset {name}.")

    def _load_preset(self) -> None:
        if name := ask_preset(self):
            self._try(lambda: self._change(load_preset(preset_path(name))), f"Preset {name}.")

    def _try(self, work: Callable[[], None], done: str = "") -> None:
        try:
            work()
        except (FocusError, OSError) as error:
            self._say_error(error)
        else:
            if done:
                self.banner.say(done)

    def _say(self, text: str, error: bool) -> None:
        self._disk.told()
        self.banner.say(text, error=error)

    def _say_error(self, error: BaseException) -> None:
        known = isinstance(error, FocusError | OSError)
        text = str(error) if known else f"a bug in br2focus: {type(error).__name__}: {error}"
        self.banner.say(text, error=True)

    # --- the end ------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """The sheet covers everything."""
        super().resizeEvent(event)
        self.sheet.setGeometry(self.rect())

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """End the run; the window goes at once, `end` waits for the threads."""
        for timer in self._timers:
            timer.stop()
        self.camera.end()
        self.session.stop()
        super().closeEvent(event)

    def end(self) -> bool:
        """After it was closed: wait for the threads and complete what is written; False if one hangs.

        Raises:
            SinkError: a file cannot be completed, or what the start asked for could not be written.
        """
        ended = self.session.join(LEAVE_SECONDS)
        try:
            self._disk.end()
        finally:
            self.session.files.stop()
        if self.session.files.error is not None:
            raise self.session.files.error
        return ended
