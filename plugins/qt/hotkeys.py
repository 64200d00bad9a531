"""Every key in one table: the shortcuts are made from it, and so is the sheet that shows them."""

from __future__ import annotations

from typing import NamedTuple

from PyQt6.QtCore import QRectF, Qt
from PyQt6.QtGui import QColor, QFontMetricsF, QKeySequence, QPainter, QPaintEvent
from PyQt6.QtWidgets import QWidget

from .hud import font
from .palette import INK


class Hotkey(NamedTuple):
    """A key and what it does: ``act`` is the name of the window's method, without its underscore."""

    group: str
    key: str
    act: str
    text: str


HOTKEYS = (
    Hotkey("Overlay", "1", "show_peaking", "focus peaking"),
    Hotkey("Overlay", "2", "show_heat", "heat map"),
    Hotkey("Overlay", "3", "show_mask", "mask: blurred is dark"),
    Hotkey("Overlay", "4", "show_outline", "outline of what is in focus"),
    Hotkey("Overlay", "5", "show_side_by_side", "picture and heat map side by side"),
    Hotkey("Overlay", "6", "show_none", "no overlay"),
    Hotkey("Overlay", "C", "next_colour", "next colour"),
    Hotkey("Overlay", "G", "next_ground", "over colour, gray, or alone"),
    Hotkey("Overlay", "L", "next_levels", "1, 2 or 3 levels of peaking"),
    Hotkey("Overlay", "T", "toggle_stripes", "stripes, for every colour vision"),
    Hotkey("Overlay", "N", "toggle_noise_gate", "noise gate on or off"),
    Hotkey("Overlay", "]", "more_edges", "more edges"),
    Hotkey("Overlay", "[", "fewer_edges", "fewer edges"),
    Hotkey("Overlay", ".", "more_opaque", "heat and mask more opaque"),
    Hotkey("Overlay", ",", "less_opaque", "heat and mask less opaque"),
    Hotkey("Overlay", "W", "next_smoothing", "smoothing in time: adaptive, look-ahead, fixed, off"),
    Hotkey("Overlay", "E", "next_refine", "edges of the map: off, fast, best"),
    Hotkey("Overlay", "B", "toggle_before", "before / after"),
    Hotkey("View", "Z", "punch_in", "punch in 1:1, and back"),
    Hotkey("View", "+", "zoom_in", "zoom in"),
    Hotkey("View", "-", "zoom_out", "zoom out"),
    Hotkey("View", "0", "zoom_fit", "fit the window"),
    Hotkey("View", "Left", "pan_left", "pan (arrows, or right button)"),
    Hotkey("View", "Right", "pan_right", ""),
    Hotkey("View", "Up", "pan_up", ""),
    Hotkey("View", "Down", "pan_down", ""),
    Hotkey("View", "V", "toggle_clean", "clean view: the picture alone"),
    Hotkey("View", "H", "toggle_hud", "figures over the picture"),
    Hotkey("View", "Y", "toggle_graph", "graph"),
    Hotkey("View", "P", "toggle_panel", "settings panel"),
    Hotkey("View", "F", "toggle_full_screen", "full screen"),
    Hotkey("View", "Ctrl+T", "next_theme", "light or dark"),
    Hotkey("Regions", "A", "add_region", "add one (or tap, or drag, in the picture)"),
    Hotkey("Regions", "K", "next_region", "select the next"),
    Hotkey("Regions", "Ctrl+Left", "move_left", "move it (Ctrl and arrows)"),
    Hotkey("Regions", "Ctrl+Right", "move_right", ""),
    Hotkey("Regions", "Ctrl+Up", "move_up", ""),
    Hotkey("Regions", "Ctrl+Down", "move_down", ""),
    Hotkey("Regions", "Ctrl++", "grow_region", "larger"),
    Hotkey("Regions", "Ctrl+-", "shrink_region", "smaller"),
    Hotkey("Regions", "Del", "remove_region", "remove it"),
    Hotkey("Regions", "Shift+Del", "remove_regions", "remove all"),
    Hotkey("Regions", "X", "reset_best", "forget its best so far"),
    Hotkey("Regions", "Shift+X", "reset_bests", "forget every best so far"),
    Hotkey("Record", "R", "record_annotated", "record with overlay, and stop"),
    Hotkey("Record", "Shift+R", "record_clean", "record the clean picture, and stop"),
    Hotkey("Record", "Ctrl+R", "record_both", "record both, and stop"),
    Hotkey("Record", "S", "snapshot", "snapshot: picture, overlay, map, figures"),
    Hotkey("Session", "O", "choose_source", "camera, address or file"),
    Hotkey("Session", "F5", "reopen", "open it again"),
    Hotkey("Session", "M", "next_model", "next model"),
    Hotkey("Session", "D", "next_device", "next device"),
    Hotkey("Session", "Ctrl+S", "save_preset", "save a preset"),
    Hotkey("Session", "Ctrl+O", "load_preset", "load a preset"),
    Hotkey("Session", "?", "toggle_sheet", "this sheet"),
    Hotkey("Session", "Esc", "leave", "leave sheet, clean view, full screen; dismiss a message"),
    Hotkey("Session", "Ctrl+Q", "close", "quit"),
)

# May be held down; anything else happens once.
REPEATING = {
    "more_edges",
    "fewer_edges",
    "more_opaque",
    "less_opaque",
    "zoom_in",
    "zoom_out",
    "grow_region",
    "shrink_region",
    *(f"{what}_{way}" for what in ("pan", "move") for way in ("left", "right", "up", "down")),
}
COLUMNS = (("Overlay", "Record"), ("View",), ("Regions", "Session"))
MARGIN = 18.0


def key_of(act: str) -> str:
    """The key of ``act`` as people write it, e.g. "Ctrl+S"."""
    found = next(hotkey.key for hotkey in HOTKEYS if hotkey.act == act)
    return QKeySequence(found).toString(QKeySequence.SequenceFormat.NativeText)


class Sheet(QWidget):
    """The table of keys over the whole window; any click takes it away."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self.setAccessibleName("Keys")

    def mousePressEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        """Away with it."""
        self.hide()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """The groups in two columns, in the largest letters that fit."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(12, 12, 14, 240))
        rows = max(sum(len(_shown(group)) + 2 for group in groups) for groups in COLUMNS)
        width, height = self.width() / len(COLUMNS), self.height() / (rows + 1)
        size = min(height * 0.5, 13.0)
        while size > 5 and _wanted(size) > width:
            size -= 0.5
        for number, groups in enumerate(COLUMNS):
            y = height / 2
            for group in groups:
                y = self._paint_group(painter, group, QRectF(number * width, y, width, height), size)

    def _paint_group(self, painter: QPainter, group: str, row: QRectF, size: float) -> float:
        """One group from ``row`` on; the height at which the next may begin."""
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setPen(QColor("#e69f00"))
        painter.setFont(font(size * 1.1, bold=True))
        painter.drawText(row.adjusted(MARGIN, 0, 0, 0), middle, group)
        painter.setPen(INK)
        for hotkey in _shown(group):
            row.translate(0, row.height())
            painter.setFont(font(size, bold=True))
            painter.drawText(row.adjusted(MARGIN, 0, 0, 0), middle, key_of(hotkey.act))
            painter.setFont(font(size))
            painter.drawText(row.adjusted(_key_room(size), 0, 0, 0), middle, hotkey.text)
        return row.bottom() + row.height()


def _key_room(size: float) -> float:
    """From the left edge of a column to the texts."""
    metrics = QFontMetricsF(font(size, bold=True))
    return 2 * MARGIN + max(metrics.horizontalAdvance(key_of(h.act)) for h in HOTKEYS if h.text)


def _wanted(size: float) -> float:
    """Width of a column in which every text fits."""
    metrics = QFontMetricsF(font(size))
    return _key_room(size) + max(metrics.horizontalAdvance(h.text) for h in HOTKEYS) + 4


def _shown(group: str) -> list[Hotkey]:
    return [hotkey for hotkey in HOTKEYS if hotkey.group == group and hotkey.text]
