"""Colours that every colour vision tells apart (Okabe and Ito, "Color Universal Design", 2008)."""

from __future__ import annotations

from PyQt6.QtGui import QColor

# Of peaking and outlines: the name -> BGR, as overlays take it.
PEAKING: dict[str, tuple[int, int, int]] = {
    "amber": (0, 176, 255),
    "sky blue": (233, 180, 86),
    "yellow": (66, 228, 240),
    "vermilion": (0, 94, 213),
    "green": (115, 158, 0),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
}
SERIES = tuple(QColor(name) for name in ("#f0f0f0", "#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#00b386"))
GROUND = QColor(28, 28, 30)  # behind the picture, the same in light and dark: it must not sway the eye
INK = QColor(240, 240, 240)
FAINT = QColor(150, 150, 155)
PLATE = QColor(0, 0, 0, 165)
ALARM = QColor("#d55e00")
RECORDING = QColor("#d7263d")
NOTE = QColor("#0072b2")


def series_colour(number: int) -> QColor:
    """Of the region ``number``; 0 is the whole frame."""
    return SERIES[0] if number == 0 else SERIES[1 + (number - 1) % (len(SERIES) - 1)]


def qcolor(bgr: tuple[int, int, int]) -> QColor:
    """An overlay's colour as Qt takes it."""
    return QColor(bgr[2], bgr[1], bgr[0])
