"""What stands above the picture: where it comes from, record and snapshot; and messages."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from PyQt6.QtCore import QObject, QSignalBlocker, Qt, pyqtSignal
from PyQt6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from br2focus.realtime.sources.live.camera import CameraInfo, list_cameras
from br2focus.realtime.sources.live.open import TEST, shown_name

from .hotkeys import key_of

BUILT_IN = ("test (built-in focus pull)", TEST)


class _Cameras(QObject):
    """Looks for cameras in a thread: drivers take their time."""

    found = pyqtSignal(object)

    def look(self) -> None:
        """Begin; ``found`` follows."""
        threading.Thread(target=self._look, name="cameras", daemon=True).start()

    def _look(self) -> None:
        try:
            cameras = list_cameras()
        except Exception:  # no list is no reason to end: a number or an address can be typed
            cameras = []
        self.found.emit(cameras)


class SourcePicker(QComboBox):
    """Cameras by name, the built-in test, or whatever is typed: a number, an address, a file."""

    picked = pyqtSignal(str)
    left = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Pick a camera, or type its number, an address (rtsp://...) or a file, and Enter "
            f"({key_of('choose_source')}).\n"
            "A camera stays the same one whatever is plugged in where."
        )
        self.setAccessibleName("Source")
        self._cameras = _Cameras()  # without a parent: its thread may outlive the picker
        self._cameras.found.connect(self._found)
        self._now = ""
        self._listed: tuple[tuple[str, str], ...] = (BUILT_IN,)
        self._list()
        self.activated.connect(self._choose)
        line = self.lineEdit()
        assert line is not None
        line.returnPressed.connect(self._typed)

    def refresh(self) -> None:
        """Look for cameras again; the list follows when they are known."""
        self._cameras.look()

    def edit(self) -> None:
        """Take the keyboard; what is typed replaces what stands there."""
        self.setFocus(Qt.FocusReason.ShortcutFocusReason)
        line = self.lineEdit()
        if line is not None:
            line.selectAll()
        self.refresh()

    def show_source(self, source: str) -> None:
        """Show ``source`` by its name, without its secrets."""
        self._now = source
        with QSignalBlocker(self):
            self.setCurrentIndex(self._index(source))
            self.setEditText(self.name_of(source))

    def name_of(self, source: str) -> str:
        """How ``source`` is called: a camera by its name, an address without its secrets."""
        known = self._index(source)
        return self.itemText(known) if known >= 0 else shown_name(source)

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """The list, and a fresh look at what is plugged in."""
        self.refresh()
        super().showPopup()

    def _index(self, source: str) -> int:
        """Of the item that means ``source``, by id or number; -1 for none."""
        known = self.findData(source)
        if known < 0 and source.isdigit():
            known = self.findText(f"{source}: ", Qt.MatchFlag.MatchStartsWith)
        return known

    def _found(self, cameras: Sequence[CameraInfo]) -> None:
        """Show another list, but not under somebody's hand."""
        listed = [(f"{c.index}: {c.name}", c.id or str(c.index)) for c in cameras]
        listed.append(BUILT_IN)
        line, view = self.lineEdit(), self.view()
        busy = (line is not None and line.hasFocus() and line.isModified()) or (
            view is not None and view.isVisible()
        )
        if tuple(listed) != self._listed and not busy:
            self._listed = tuple(listed)
            self._list()

    def _list(self) -> None:
        with QSignalBlocker(self):
            self.clear()
            for text, data in self._listed:
                self.addItem(text, data)
        self.show_source(self._now)

    def _choose(self, index: int) -> None:
        source = self.itemData(index)
        if isinstance(source, str):
            self.picked.emit(source)
        self.left.emit()

    def _typed(self) -> None:
        """What is typed; the same once more opens it again."""
        text = self.currentText().strip()
        if text == self.name_of(self._now):
            self.picked.emit(self._now)
        elif text and self.findText(text) < 0:
            self.picked.emit(text)
        self.left.emit()


class TopBar(QWidget):
    """Source, record, snapshot, keys."""

    record_pressed = pyqtSignal()
    snapshot_pressed = pyqtSignal()
    sheet_pressed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.source = SourcePicker()
        self.record = _button(
            "● Record",
            f"Record with overlay ({key_of('record_annotated')});\n"
            f"{key_of('record_clean')} the clean picture, {key_of('record_both')} both.",
        )
        self.record.setCheckable(True)
        snapshot = _button("Snapshot", f"Picture, overlay, 16-bit map and figures ({key_of('snapshot')}).")
        keys = _button("?", "All keys (?).")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 6, 8, 6)
        for widget in (self.source, self.record, snapshot, keys):
            row.addWidget(widget)
        self.record.clicked.connect(self.record_pressed)
        snapshot.clicked.connect(self.snapshot_pressed)
        keys.clicked.connect(self.sheet_pressed)


class Banner(QFrame):
    """One message at a time, with what to do; no dialog, no storm of them."""

    def __init__(self) -> None:
        super().__init__()
        self.setAutoFillBackground(True)
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        away = QToolButton()
        away.setText("✕")
        away.setToolTip("Dismiss (Esc).")
        away.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        away.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.addWidget(self._label, 1)
        row.addWidget(away)
        self.hide()

    @property
    def text(self) -> str:
        """The message."""
        return self._label.text()

    def say(self, text: str, *, error: bool = False) -> None:
        """Show ``text`` in place of what was there."""
        self._label.setTextFormat(Qt.TextFormat.PlainText)  # names of files are not markup
        self._label.setText(text)
        ground = "#7a3300" if error else "#17405c"
        self.setStyleSheet(f"QFrame {{ background: {ground}; }} QLabel {{ color: white; }}")
        self.show()


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
