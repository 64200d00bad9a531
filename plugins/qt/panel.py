"""The settings panel: what the keys change, as controls that explain themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from PyQt6.QtCore import QSignalBlocker, Qt, pyqtSignal
from PyQt6.QtGui import QIcon, QPixmap
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QLabel,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from br2focus.realtime.drawing.refining import MODES
from br2focus.realtime.overlay_style import GROUNDS, KINDS, MAX_LEVELS, OverlayStyle
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.smoothing.factory import SmoothingSetting, frames_ahead

from .changes import SMOOTHINGS, THRESHOLDS, following
from .hotkeys import key_of
from .palette import PEAKING, qcolor

NOISE_GATE = OverlayStyle.noise_gate
COCS = (None, "1/4000", "1/3000", "1/2400", "1/2000", "1/1500", "1/1000", "1/700", "1/500", "1/300")


def sensitivity(threshold: float) -> int:
    """0 to 100 for a threshold: even steps of the slider are even ratios of the gradient."""
    most, least = THRESHOLDS
    return round(100 * math.log(least / min(max(threshold, most), least)) / math.log(least / most))


def threshold_of(value: int) -> float:
    """The threshold for a sensitivity of 0 to 100."""
    most, least = THRESHOLDS
    return float(least * (most / least) ** (value / 100))


def tolerance_step(coc: str | None) -> int:
    """The step of the slider for a circle of confusion; one that is no step stands at the middle."""
    return COCS.index(coc) if coc in COCS else len(COCS) // 2


class Panel(QScrollArea):
    """Shows `ViewSettings` and tells when a control changed them.

    Args:
        models, devices: to choose from.
    """

    changed = pyqtSignal(object)

    def __init__(self, models: Sequence[str], devices: Sequence[str]) -> None:
        super().__init__()
        self._settings = ViewSettings()
        self._inside = QWidget()
        self._box = QVBoxLayout(self._inside)
        self._overlay_controls()
        self._engine_controls(models, devices)
        self._box.addStretch(1)
        self.setWidget(self._inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedWidth(264)

    def next_model(self) -> str:
        """The model behind the present one."""
        names = [self.model.itemText(number) for number in range(self.model.count())]
        return following(names, self.model.currentText())

    def add(self, widget: QWidget) -> None:
        """Put ``widget`` below the others."""
        self._box.insertWidget(self._box.count() - 1, widget)

    def show_settings(self, settings: ViewSettings) -> None:
        """Set every control to ``settings``, without telling."""
        self._settings, style = settings, settings.style
        colour = next((name for name, bgr in PEAKING.items() if bgr == style.colour), None)
        texts = (
            (self.kind, settings.overlay),
            (self.ground, style.ground),
            (self.colour, colour),
            (self.model, settings.model),
            (self.device, settings.device),
            (self.smoothing, smoothing_text(settings.smoothing)),
            (self.refine, settings.refine),
        )
        for combo, text in texts:
            with QSignalBlocker(combo):
                combo.setCurrentIndex(_index(combo, text))
        numbers = (
            (self.tolerance, tolerance_step(settings.coc)),
            (self.sensitivity, sensitivity(style.threshold)),
            (self.levels, style.levels),
            (self.opacity, round(100 * style.opacity)),
            (self.strongest, round(100 * style.strongest)),
        )
        for slider, value in numbers:
            with QSignalBlocker(slider):
                slider.setValue(value)
        for check, on in ((self.stripes, style.stripes), (self.noise_gate, style.noise_gate > 0)):
            with QSignalBlocker(check):
                check.setChecked(on)

    def _overlay_controls(self) -> None:
        form = QFormLayout()
        self.kind = _combo(KINDS, "What is drawn over the picture (keys 1 to 6).")
        self.ground = _combo(GROUNDS, f"What the overlay lies on ({key_of('next_ground')}).")
        self.colour = _combo(
            PEAKING,
            f"Colour of peaking and outline ({key_of('next_colour')}).\n"
            "All of them are told apart by every colour vision.",
        )
        for number, bgr in enumerate(PEAKING.values()):
            swatch = QPixmap(16, 16)
            swatch.fill(qcolor(bgr))
            self.colour.setItemIcon(number, QIcon(swatch))
        self.sensitivity = _slider(
            0,
            100,
            "How weak an edge may be to be peaked ([ and ]). Only what is in focus is peaked,\n"
            "however strong an edge elsewhere.",
        )
        self.levels = _slider(1, MAX_LEVELS, "Stronger edges in a brighter shade (L).")
        self.strongest = _slider(
            1,
            100,
            "At most so many percent of what is in focus are peaked, the strongest edges first;\n"
            "100: all that the sensitivity lets through.",
        )
        self.opacity = _slider(0, 100, "Of heat map and mask (, and .).")
        self.stripes = QCheckBox("stripes")
        self.stripes.setToolTip("Peaking as stripes, so that it does not rest on colour alone (T).")
        self.noise_gate = QCheckBox("noise gate")
        self.noise_gate.setToolTip(
            "Measures the sensor's noise in what is blurred, and keeps it from being peaked (N)."
        )
        rows: Sequence[tuple[str, QWidget]] = (
            ("overlay", self.kind),
            ("over", self.ground),
            ("colour", self.colour),
            ("sensitivity", self.sensitivity),
            ("at most", self.strongest),
            ("levels", self.levels),
            ("opacity", self.opacity),
            ("", self.stripes),
            ("", self.noise_gate),
        )
        for name, widget in rows:
            form.addRow(name, widget)
        self._add(form, "Overlay")
        self._on_change(self.kind, lambda s: replace(s, overlay=KINDS[self.kind.currentIndex()]))
        self._on_style(self.ground, lambda s: replace(s, ground=GROUNDS[self.ground.currentIndex()]))
        self._on_style(self.colour, lambda s: replace(s, colour=PEAKING[self.colour.currentText()]))
        self._on_style(
            self.sensitivity,
            lambda s: replace(s, threshold=threshold_of(self.sensitivity.value())),
        )
        self._on_style(self.strongest, lambda s: replace(s, strongest=self.strongest.value() / 100))
        self._on_style(self.levels, lambda s: replace(s, levels=self.levels.value()))
        self._on_style(self.opacity, lambda s: replace(s, opacity=self.opacity.value() / 100))
        self._on_style(self.stripes, lambda s: replace(s, stripes=self.stripes.isChecked()))
        self._on_style(
            self.noise_gate,
            lambda s: replace(s, noise_gate=NOISE_GATE * self.noise_gate.isChecked()),
        )

    def _engine_controls(self, models: Sequence[str], devices: Sequence[str]) -> None:
        form = QFormLayout()
        self.smoothing = _combo(
            [smoothing_text(each) for each in SMOOTHINGS],
            f"Of maps in time ({key_of('next_smoothing')}). Adaptive lets flicker decay and follows\n"
            "motion and focus pulls at once; look-ahead is calmer, and shows the picture later by so many\n"
            "frames; a fixed time constant lags behind by so much. The delay is part of the age shown;\n"
            "scores and graph are never smoothed.",
        )
        self.refine = _combo(
            MODES, f"Moves the map's edges to those of the picture ({key_of('next_refine')})."
        )
        self.model = _combo(models, f"The network ({key_of('next_model')}).")
        self.device = _combo(devices, f"What computes ({key_of('next_device')}).")
        self.tolerance = _slider(
            0,
            len(COCS) - 1,
            "The circle of confusion: the largest blur radius that counts as in focus,\n"
            "as a share of the longer side. Leftmost: what the footage and its size allow.",
        )
        form.addRow("tolerance", self.tolerance)
        form.addRow("smoothing", self.smoothing)
        form.addRow("edges", self.refine)
        form.addRow("model", self.model)
        form.addRow("device", self.device)
        self._add(form, "Map")
        self._on_change(self.tolerance, lambda s: replace(s, coc=COCS[self.tolerance.value()]))
        self._on_change(self.smoothing, lambda s: replace(s, smoothing=self._smoothing()))
        self._on_change(self.refine, lambda s: replace(s, refine=MODES[self.refine.currentIndex()]))
        self._on_change(self.model, lambda s: replace(s, model=self.model.currentText()))
        self._on_change(self.device, lambda s: replace(s, device=self.device.currentText()))

    def _add(self, form: QFormLayout, title: str) -> None:
        self._box.addWidget(_title(title))
        self._box.addLayout(form)

    def _on_style(
        self,
        control: QComboBox | QSlider | QCheckBox,
        change: Callable[[OverlayStyle], OverlayStyle],
    ) -> None:
        self._on_change(control, lambda s: replace(s, style=change(s.style)))

    def _on_change(
        self,
        control: QComboBox | QSlider | QCheckBox,
        change: Callable[[ViewSettings], ViewSettings],
    ) -> None:
        def tell(*_: object) -> None:
            self._settings = change(self._settings)
            self.changed.emit(self._settings)

        if isinstance(control, QComboBox):
            control.currentIndexChanged.connect(tell)
        elif isinstance(control, QSlider):
            control.valueChanged.connect(tell)
        else:
            control.toggled.connect(tell)

    def _smoothing(self) -> SmoothingSetting:
        """What the control says; a value of a preset's own is no choice of the list, but stays."""
        number = self.smoothing.currentIndex()
        return SMOOTHINGS[number] if 0 <= number < len(SMOOTHINGS) else self._settings.smoothing


def smoothing_text(setting: SmoothingSetting) -> str:
    """How people read a setting."""
    if setting is None:
        return "off"
    if ahead := frames_ahead(setting):
        return f"look-ahead, {ahead} frames"
    return setting if isinstance(setting, str) else f"fixed, {1000 * setting:.0f} ms"


def _title(text: str) -> QLabel:
    label = QLabel(f"<b>{text}</b>")
    label.setContentsMargins(0, 8, 0, 0)
    return label


def _combo(texts: Sequence[str] | dict[str, tuple[int, int, int]], tip: str) -> QComboBox:
    combo = QComboBox()
    combo.addItems(list(texts))
    combo.setToolTip(tip)
    return combo


def _index(combo: QComboBox, text: str | None) -> int:
    """Of ``text``, added if it is not there yet; -1 for none."""
    if text is None:
        return -1
    if combo.findText(text) < 0:
        combo.addItem(text)
    return combo.findText(text)


def _slider(least: int, most: int, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(least, most)
    slider.setToolTip(tip)
    return slider
