"""The window: joins the pump, the picture, the graph and the panel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from PyQt6.QtCore import QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QAction, QCloseEvent, QGuiApplication, QKeySequence, QResizeEvent
from PyQt6.QtWidgets import QHBoxLayout, QMainWindow, QVBoxLayout, QWidget

from br2focus.models import checkpoint
from br2focus.models.errors import FocusError
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.live import CameraMode, shown_name
from br2focus.realtime.presets import ViewSettings, load_preset, preset_path, save_preset
from br2focus.realtime.stats import Snapshot, Stats
from br2focus.realtime.supervised import State

from . import hud, takes
from .bridge import Shown
from .camera_box import CameraBox
from .changes import CHANGES, following
from .graph import Graph
from .hotkeys import HOTKEYS, Sheet
from .palette import RECORDING
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
DEVICES = ("auto", "cpu", "cuda")


class Window(QMainWindow):
    """Focus assist. Call `end` after it was closed.

    Attributes:
        session: what runs.
        settings: how it is computed and shown; keys and panel change them.
        bar, banner, picture, graph, panel, camera, sheet: its parts.
    """

    close_requested = pyqtSignal()  # from any thread
    _said = pyqtSignal(str, bool)

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start, self.settings = start, start.settings
        self._sinks = start.sinks(lambda: self.settings)
        self._good: tuple[str, ViewSettings] | None = None  # what last gave a picture
        self._stats, self._dropped = Stats(), 0
        self._hud_on, self._first = True, True
        self.session = Session(start.open_source, start.options)
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
        session.trouble.connect(self._recording_failed)
        self.panel.changed.connect(self._change)
        self.picture.rois_changed.connect(lambda rois: self._change(self._with(rois=rois)))
        self.camera.mode_picked.connect(self._pick_mode)
        self.camera.trouble.connect(self._say_error)
        bar.source.picked.connect(self._pick)
        bar.record_pressed.connect(lambda: self._record("annotated"))
        bar.snapshot_pressed.connect(self._snapshot)
        bar.sheet_pressed.connect(self._toggle_sheet)
        self.close_requested.connect(self.close)
        self._said.connect(lambda text, error: self.banner.say(text, error=error))

    def _add_key(self, act: str, key: str, acts: dict[str, Callable[[], object]]) -> None:
        action = QAction(self)
        action.setObjectName(act)
        action.setShortcut(QKeySequence(key))
        if act in CHANGES:
            action.triggered.connect(lambda: self._change(CHANGES[act](self.settings)))
        else:
            action.triggered.connect(lambda: acts[act]())
        self.addAction(action)

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
            "add_region": lambda: view.add_roi(),
            "next_region": view.select_next,
            "grow_region": lambda: view.change_selected(lambda r, size: grown(r, NUDGE, size)),
            "shrink_region": lambda: view.change_selected(lambda r, size: grown(r, -NUDGE, size)),
            "remove_region": lambda: view.remove(view.selected),
            "remove_regions": lambda: view.remove(),
            "reset_best": self._reset_best,
            "record_annotated": lambda: self._record("annotated"),
            "record_clean": lambda: self._record("clean"),
            "record_both": lambda: self._record("annotated", "clean"),
            "snapshot": self._snapshot,
            "choose_source": self.bar.source.setFocus,
            "next_model": lambda: self._change(self._with(model=self.panel.next_model())),
            "next_device": lambda: self._change(self._with(device=following(DEVICES, self.settings.device))),
            "save_preset": self._save_preset,
            "load_preset": self._load_preset,
            "next_theme": self._next_theme,
            "toggle_sheet": self._toggle_sheet,
            "leave": self._leave,
            "close": self.close,
        }  # fmt: skip
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
        if settings.engine() != before.engine():
            self.session.switch(self.session.source, settings)
        elif run is not None:
            run.settings = settings
            if settings.smoothing != before.smoothing:
                run.set_smoothing(settings.smoothing)
        self._show_settings()

    def _show_settings(self) -> None:
        self.panel.show_settings(self.settings)
        if self.picture.rois != self.settings.rois:
            self.picture.rois = self.settings.rois
        self._tick()

    def _pick(self, source: str) -> None:
        self.picture.clear()
        self.session.switch(source, self.settings)
        self.picture.setFocus()

    def _pick_mode(self, mode: CameraMode | None) -> None:
        self.session.options = replace(self.session.options, mode=mode)
        self._pick(self.session.source)

    def _began(self) -> None:
        run = self.session.run
        assert run is not None
        self._stats, self._first = Stats(), True
        self.picture.scores = self.graph.scores = run.scores
        self.bar.source.show_source(self.session.source)
        self.camera.look_at(self.session.source)
        self._tick()

    def _take(self) -> None:
        run = self.session.run
        shown = run.take() if run is not None else None
        if run is None or shown is None:
            return
        if self._first:
            self._first = False
            self._good = (self.session.source, self.settings)
            self._got_first()
        self.picture.show_result(shown)

    def _got_first(self) -> None:
        """The first picture of all: what was asked for at the start begins."""
        sinks, self._sinks = self._sinks, ()
        if sinks:
            self.session.recorder.start(sinks)
        if self._start.duration is not None:
            QTimer.singleShot(round(1000 * self._start.duration), self.close)
            self._start = replace(self._start, duration=None)

    def _failed(self, error: BaseException) -> None:
        """Say why; settings that do not work give way to the last that did."""
        self._say_error(error)
        if self._good is None or not self._first:
            return
        source, settings = self._good
        self._good = None
        if settings.engine() != self.settings.engine():
            self.settings = replace(
                self.settings, model=settings.model, device=settings.device, size=settings.size
            )
            self.session.switch(source, self.settings)
            self._show_settings()

    # --- what is shown ------------------------------------------------------------------------

    def _was_painted(self, shown: Shown, seconds: float) -> None:
        self._stats.count(shown.result.timing, overlay=shown.overlay, paint=seconds)

    @property
    def figures(self) -> Snapshot:
        """Rate, drops and age of what was painted."""
        run = self.session.run
        if run is not None:
            painted = self._stats.snapshot().results
            self._dropped = run.dropped + max(0, run.results - painted)
        return self._stats.snapshot(self._dropped)

    def _tick(self) -> None:
        """Figures, badges and the state of the source; several times a second."""
        view, run = self.picture, self.session.run
        if run is None:
            return
        view.status = run.status
        view.state = hud.state_text(run.status, self.settings.model, shows=not self._first)
        size = view.shown.result.frame.size if view.shown else (0, 0)
        name = shown_name(self.session.source)
        lines = hud.figures(name, size, run.computes, self.figures)
        view.lines = [*lines, *run.notices[-3:]] if self._hud_on else []
        view.badges = self._badges()
        self.bar.record.setChecked(self.session.recorder.seconds is not None)
        view.update()

    def _badges(self) -> list[hud.Badge]:
        """A badge whenever a mode is on."""
        view, style = self.picture, self.settings.style
        seconds = self.session.recorder.seconds
        found = []
        if seconds is not None:
            clock = f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
            found.append(hud.Badge(f"● REC {clock}", RECORDING))
        if view.before:
            found.append(hud.Badge("BEFORE"))
        elif self.settings.overlay != "none":
            found.append(hud.Badge(self.settings.overlay.upper()))
            if style.ground != "colour":
                found.append(hud.Badge(style.ground.upper()))
        if view.scale is not None:
            percent = "1:1" if view.scale == 1 else f"{view.scale:g}x"
            found.append(hud.Badge(percent))
        return found

    def _set_view(self, **flags: bool) -> None:
        for name, on in flags.items():
            setattr(self.picture, name, on)
        plain = self.picture.clean
        for widget in (self.bar, self.panel, self.graph):
            widget.setVisible(not plain)
        self._tick()

    def _toggle_hud(self) -> None:
        self._hud_on = not self._hud_on
        self._tick()

    def _toggle_full_screen(self) -> None:
        self.showNormal() if self.isFullScreen() else self.showFullScreen()

    def _next_theme(self) -> None:
        hints = QGuiApplication.styleHints()
        if hints is not None:
            dark = hints.colorScheme() == Qt.ColorScheme.Dark
            hints.setColorScheme(Qt.ColorScheme.Light if dark else Qt.ColorScheme.Dark)

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
        self.picture.setFocus()

    def _reset_best(self) -> None:
        if self.session.run is not None:
            self.session.run.scores.reset()

    # --- files --------------------------------------------------------------------------------

    def _record(self, *wanted: str) -> None:
        """Begin a recording, or end the one that runs."""
        run = self.session.run
        if self.session.recorder.seconds is not None:
            self._aside(self._stop_recording)
        elif run is None or run.source is None or self.picture.shown is None:
            self.banner.say("There is no picture to record yet.")
        else:
            try:
                info = run.source.info
                sinks = takes.open_takes(self._start.folder, wanted, info, lambda: self.settings)
                self.session.recorder.start(sinks)
            except FocusError as error:
                self._say_error(error)
        self._tick()

    def _stop_recording(self) -> str:
        paths = self.session.recorder.stop()
        return "Recorded " + ", ".join(map(str, paths)) if paths else "Nothing was recorded."

    def _recording_failed(self, error: BaseException) -> None:
        self._say_error(error)
        self._tick()

    def _snapshot(self) -> None:
        shown, run = self.picture.shown, self.session.run
        if shown is None or run is None:
            self.banner.say("There is no picture to keep yet.")
            return
        settings, name = self.settings, shown_name(self.session.source)
        self._aside(
            lambda: (
                "Kept "
                + str(
                    takes.save_snapshot(
                        self._start.folder, shown.result, settings, run.scores, name
                    )
                )
            )
        )

    def _aside(self, work: Callable[[], str]) -> None:
        """Do what touches the disk in a thread of its own, and say how it went."""

        def run() -> None:
            try:
                self._said.emit(work(), False)
            except FocusError as error:
                self._said.emit(str(error), True)

        threading.Thread(target=run, name="disk").start()

    def _save_preset(self) -> None:
        name = ask_preset_name(self)
        if name:
            self._try(
                lambda: save_preset(self.settings, preset_path(name)), f"Saved preset {name}."
            )

    def _load_preset(self) -> None:
        name = ask_preset(self)
        if name:
            self._try(lambda: self._change(load_preset(preset_path(name))), f"Preset {name}.")

    def _try(self, work: Callable[[], None], done: str) -> None:
        try:
            work()
            self.banner.say(done)
        except FocusError as error:
            self._say_error(error)

    def _say_error(self, error: BaseException) -> None:
        known = isinstance(error, FocusError | SettingsError)
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
        """After it was closed: wait for the threads and complete the recording; False if one hangs.

        Raises:
            SinkError: the recording cannot be completed.
        """
        ended = self.session.join(LEAVE_SECONDS)
        for sink in self._sinks:  # no picture ever came
            sink.abort()
        self.session.recorder.stop()
        return ended

    @property
    def state(self) -> State:
        """What the source is doing."""
        run = self.session.run
        return run.status.state if run is not None else State.ENDED
