"""The questions that the viewer asks, all about presets."""

from __future__ import annotations

from PyQt6.QtWidgets import QInputDialog, QMessageBox, QWidget

from br2focus.realtime.presets import list_presets


def ask_preset_name(parent: QWidget) -> str:
    """A name to save under, "" if the user thought better of it."""
    name, done = QInputDialog.getText(parent, "Save preset", "Name:")
    name = name.strip() if done else ""
    if name in list_presets():
        answer = QMessageBox.question(parent, "Save preset", f"Replace the preset {name}?")
        return name if answer == QMessageBox.StandardButton.Yes else ""
    return name


def ask_preset(parent: QWidget) -> str:
    """One of the presets that exist, or a path to a file; "" for none."""
    names = list_presets()
    name, done = QInputDialog.getItem(
        parent, "Load preset", "Preset (or a path that ends in .toml):", names, 0, editable=True
    )
    return name.strip() if done else ""
