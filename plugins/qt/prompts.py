"""The two questions that the viewer asks, both about presets."""

from __future__ import annotations

from PyQt6.QtWidgets import QInputDialog, QWidget

from br2focus.realtime.presets import list_presets


def ask_preset_name(parent: QWidget) -> str:
    """A name to save under, "" if the user thought better of it."""
    name, done = QInputDialog.getText(parent, "Save preset", "Name:")
    return name.strip() if done else ""


def ask_preset(parent: QWidget) -> str:
    """One of the presets that exist, or a path to a file; "" for none."""
    names = list_presets()
    name, done = QInputDialog.getItem(
        parent, "Load preset", "Preset (or a path that ends in .toml):", names, 0, editable=True
    )
    return name.strip() if done else ""
