"""Saves the controls of each camera between runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.folders import config_folder
from br2focus.realtime.output import Output, refusal

NAME = "cameras.json"

Remembered = dict[str, dict[str, int]]  # camera id -> control name -> value


def remember(camera_id: str, values: Mapping[str, int], folder: Path | None = None) -> None:
    """Save ``values`` for a camera, replacing those saved before; an empty mapping deletes them.

    Args:
        camera_id: `CameraInfo.id`.
        values: all its controls by name, since a focus value alone does not say that autofocus was off.
        folder: `config_folder` by default.

    Raises:
        SettingsError: the existing file cannot be read.
        SinkError: the file cannot be written, or another program is writing it.
    """
    path = (folder or config_folder()) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from error
    with Output(path, overwrite=True) as output:  # holds the lock against other writers
        remembered = _read(path) | {camera_id: dict(values)}
        output.temporary.chmod(0o600)  # camera ids contain serial numbers
        text = json.dumps({each: kept for each, kept in remembered.items() if kept}, indent=2)
        output.temporary.write_text(text + "\n", encoding="utf-8")


def recalled(camera_id: str, folder: Path | None = None) -> dict[str, int]:
    """Return the controls saved for a camera; empty if there are none.

    A damaged file counts as empty and is renamed with the suffix ``.bad``.

    Raises:
        SettingsError: the file cannot be read.
    """
    return _read((folder or config_folder()) / NAME).get(camera_id, {})


def _read(path: Path) -> Remembered:
    try:
        text = path.read_bytes()
        try:
            return TypeAdapter(Remembered).validate_json(text, strict=True)
        except ValueError:
            path.replace(path.with_name(f"{NAME}.bad"))
            return {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
