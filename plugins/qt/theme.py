"""Light and dark: as the desktop has it, until a key asks for the other."""

from __future__ import annotations

from PyQt6.QtGui import QColor, QPalette
from PyQt6.QtWidgets import QApplication, QStyleFactory

# Each part of a window: dark, light.
_COLOURS = {
    QPalette.ColorRole.Window: ("#2b2b2e", "#efeff1"),
    QPalette.ColorRole.WindowText: ("#f0f0f0", "#18181a"),
    QPalette.ColorRole.Base: ("#1f1f22", "#ffffff"),
    QPalette.ColorRole.AlternateBase: ("#2b2b2e", "#f5f5f7"),
    QPalette.ColorRole.Text: ("#f0f0f0", "#18181a"),
    QPalette.ColorRole.Button: ("#3a3a3e", "#e4e4e8"),
    QPalette.ColorRole.ButtonText: ("#f0f0f0", "#18181a"),
    QPalette.ColorRole.ToolTipBase: ("#3a3a3e", "#ffffe1"),
    QPalette.ColorRole.ToolTipText: ("#f0f0f0", "#18181a"),
    QPalette.ColorRole.PlaceholderText: ("#9a9aa0", "#77777c"),
    QPalette.ColorRole.Highlight: ("#3d8fd1", "#2f7fc1"),
    QPalette.ColorRole.HighlightedText: ("#ffffff", "#ffffff"),
}


def is_dark() -> bool:
    """Whether windows are dark now."""
    return QApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128


def toggle() -> None:
    """Dark if it is light, and the reverse; not every desktop lets a program ask for it, so by colours."""
    now_light, palette = is_dark(), QPalette()
    for role, names in _COLOURS.items():
        palette.setColor(role, QColor(names[now_light]))
        if role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#808086"))
    QApplication.setStyle(QStyleFactory.create("Fusion"))
    QApplication.setPalette(palette)
