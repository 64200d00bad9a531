"""Light and dark: as the desktop has it, until a key asks for the other."""

from __future__ import annotations

from PyQt6.QtGui import QColor, QPalette
from PyQt6.QtWidgets import QApplication, QStyleFactory

_DARK = {
    QPalette.ColorRole.Window: "#2b2b2e", QPalette.ColorRole.WindowText: "#f0f0f0",
    QPalette.ColorRole.Base: "#1f1f22", QPalette.ColorRole.AlternateBase: "#2b2b2e",
    QPalette.ColorRole.Text: "#f0f0f0", QPalette.ColorRole.Button: "#3a3a3e",
    QPalette.ColorRole.ButtonText: "#f0f0f0", QPalette.ColorRole.ToolTipBase: "#3a3a3e",
    QPalette.ColorRole.ToolTipText: "#f0f0f0", QPalette.ColorRole.PlaceholderText: "#9a9aa0",
    QPalette.ColorRole.Highlight: "#3d8fd1", QPalette.ColorRole.HighlightedText: "#ffffff",
}  # fmt: skip
_LIGHT = {
    QPalette.ColorRole.Window: "#efeff1", QPalette.ColorRole.WindowText: "#18181a",
    QPalette.ColorRole.Base: "#ffffff", QPalette.ColorRole.AlternateBase: "#f5f5f7",
    QPalette.ColorRole.Text: "#18181a", QPalette.ColorRole.Button: "#e4e4e8",
    QPalette.ColorRole.ButtonText: "#18181a", QPalette.ColorRole.ToolTipBase: "#ffffe1",
    QPalette.ColorRole.ToolTipText: "#18181a", QPalette.ColorRole.PlaceholderText: "#77777c",
    QPalette.ColorRole.Highlight: "#2f7fc1", QPalette.ColorRole.HighlightedText: "#ffffff",
}  # fmt: skip


def is_dark() -> bool:
    """Whether windows are dark now."""
    return QApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128


def toggle() -> None:
    """Dark if it is light, and the reverse; not every desktop lets a program ask for it, so by colours."""
    colours = _LIGHT if is_dark() else _DARK
    palette = QPalette()
    for role, name in colours.items():
        palette.setColor(role, QColor(name))
        if role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#808086"))
    QApplication.setStyle(QStyleFactory.create("Fusion"))
    QApplication.setPalette(palette)
