"""Focus, exposure, gain and format of the camera that is shown, where the driver has them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from PyQt6.QtCore import QObject, QSignalBlocker, Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGroupBox, QSlider

from br2focus.models.errors import FocusError
from br2focus.realtime.sources.live.camera import CameraInfo, find_camera
from br2focus.realtime.sources.live.camera_memory import remember
from br2focus.realtime.sources.live.controls import CameraControls, Control, Format, list_formats
from br2focus.realtime.sources.live.open import CameraMode

SETTLE_MS = 400  # without a change, until it is remembered
TIPS = {
    "autofocus": "The camera's own focus. Off while you focus by hand.",
    "focus": "Moving it turns the autofocus off.",
    "auto_exposure": "The camera's own exposure.",
    "exposure": "Moving it turns the automatic exposure off.",
    "gain": "More gain, more noise: the noise gate keeps it from being peaked.",
}


class Abilities(NamedTuple):
    """What a camera can give and what can be set."""

    camera: CameraInfo
    formats: tuple[Format, ...]
    controls: tuple[Control, ...]


def abilities(source: str) -> Abilities | None:
    """Of the camera ``source``; None for anything else, and where nothing can be told."""
    try:
        camera = find_camera(source)
        found = Abilities(camera, list_formats(camera.device), CameraControls(camera.device).list())
    except (FocusError, OSError):
        return None
    return found if found.formats or found.controls else None


class _Answers(QObject):
    """What the thread says. An object of its own: the thread may outlive the box, and a signal of a widget
    that is being destroyed must not be emitted."""

    found = pyqtSignal(object, object)
    trouble = pyqtSignal(object)


class CameraBox(QGroupBox):
    """Controls of one camera. Drivers take their time, so one thread talks to them, in order."""

    mode_picked = pyqtSignal(object)
    trouble = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__("Camera")
        self._form = QFormLayout(self)
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._source = ""
        self._mode: CameraMode | None = None
        self._abilities: Abilities | None = None
        self._widgets: dict[str, QSlider | QCheckBox] = {}
        self._wanted: dict[str, int] = {}  # only the newest value of each control is set
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._keep)
        self._answers = _Answers()
        self._answers.found.connect(self._show)
        self._answers.trouble.connect(self.trouble)
        threading.Thread(
            target=_run, args=(self._work, self._answers), name="camera-controls", daemon=True
        ).start()
        self.hide()

    def look_at(self, source: str, mode: CameraMode | None) -> None:
        """Show what the camera ``source`` can do, once it is known; nothing for other sources."""
        self._source, self._mode = source, mode
        answers = self._answers
        self._work.put(lambda: answers.found.emit(source, abilities(source)))

    def end(self) -> None:
        """Let the thread go."""
        self._work.put(None)

    def _show(self, source: str, found: Abilities | None) -> None:
        if source != self._source:
            return
        same = (
            self._abilities is not None
            and found is not None
            and (self._abilities.camera == found.camera and self._abilities.formats == found.formats)
        )
        self._abilities = found
        if not same:
            self._build(found)
        if found is not None:
            self._set_values(found.controls)
        self.setVisible(found is not None)

    def _build(self, found: Abilities | None) -> None:
        while self._form.rowCount():
            self._form.removeRow(0)
        self._widgets = {}
        if found is None:
            return
        if found.formats:
            self._form.addRow("picture", self._modes(found.formats))
        for control in found.controls:
            self._form.addRow(control.name.replace("_", " "), self._widget(control))

    def _modes(self, formats: tuple[Format, ...]) -> QComboBox:
        combo = QComboBox()
        combo.setToolTip("What to ask the camera for; what it gives stands over the picture.")
        combo.addItem("the camera's choice", None)
        for each in formats:
            for rate in each.rates or (None,):
                mode = CameraMode((each.width, each.height), float(rate) if rate else None, each.code)
                speed = f" {float(rate):g}/s" if rate else ""
                combo.addItem(f"{each.width} x {each.height}{speed} {each.code}", mode)
        combo.setCurrentIndex(max(0, combo.findData(self._mode)))
        combo.activated.connect(lambda index: self.mode_picked.emit(combo.itemData(index)))
        return combo

    def _widget(self, control: Control) -> QSlider | QCheckBox:
        made: QSlider | QCheckBox
        if control.name in ("autofocus", "auto_exposure"):
            made = QCheckBox()
            made.toggled.connect(lambda on, name=control.name: self._set(name, int(on)))
        else:
            made = QSlider(Qt.Orientation.Horizontal)
            made.setRange(control.minimum, control.maximum)
            made.setSingleStep(max(control.step, 1))
            made.valueChanged.connect(lambda value, name=control.name: self._set(name, value))
        made.setToolTip(TIPS[control.name])
        self._widgets[control.name] = made
        return made

    def _set_values(self, controls: tuple[Control, ...]) -> None:
        for control in controls:
            widget = self._widgets.get(control.name)
            if widget is None or (isinstance(widget, QSlider) and widget.isSliderDown()):
                continue
            with QSignalBlocker(widget):
                if isinstance(widget, QSlider):
                    widget.setValue(control.value)
                else:
                    widget.setChecked(bool(control.value))

    def _set(self, name: str, value: int) -> None:
        self._wanted[name] = value
        self._work.put(self._set_newest)
        self._timer.start()

    def _set_newest(self) -> None:
        """In the thread: set what is wanted by now; of a dragged slider most values are never set."""
        found, wanted, self._wanted = self._abilities, self._wanted, {}
        if found is not None:
            for name, value in wanted.items():
                CameraControls(found.camera.device).set(name, value)

    def _keep(self) -> None:
        """After a moment without a change: remember what the camera has, and show it."""
        found, source, answers = self._abilities, self._source, self._answers
        if found is None:
            return

        def work() -> None:
            there = CameraControls(found.camera.device).list()
            if found.camera.id:
                remember(found.camera.id, {each.name: each.value for each in there})
            answers.found.emit(source, found._replace(controls=there))

        self._work.put(work)


def _run(work: SimpleQueue[Callable[[], None] | None], answers: _Answers) -> None:
    while (job := work.get()) is not None:
        try:
            job()
        except Exception as error:  # the thread must live on, whatever a driver does
            answers.trouble.emit(error)
