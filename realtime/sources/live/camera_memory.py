"""Controls that were set, kept for each camera from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.folders import config_folder
from br2focus.realtime.output import Output, refusal

NAME = "cameras.json"

Remembered = dict[str, dict[str, int]]  # id of a camera -> name of a control -> value


def remember(camera_id: str, values: Mapping[str, int], folder: Path | None = None) -> None:
    """Keep ``values`` for a camera instead of what was kept before; none: forget it.

    Args:
        camera_id: `CameraInfo.id`.
        values: of all its controls, by name: a focus alone would not tell that the autofocus was off.
        folder: default `config_folder`.

    Raises:
        SettingsError: what was kept before cannot be read.
        SinkError: it cannot be written, or another program is writing it.
    """
    path = (folder or config_folder()) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from error
    with Output(path, overwrite=True) as output:  # nobody else writes from here on
        remembered = _read(path) | {camera_id: dict(values)}
        output.temporary.chmod(0o600)  # ids hold serial numbers
        text = json.dumps({each: kept for each, kept in remembered.items() if kept}, indent=2)
        output.temporary.write_text(text + "\n", encoding="utf-8")


def recalled(camera_id: str, folder: Path | None = None) -> dict[str, int]:
    """What is kept for a camera; empty when nothing is.

    A damaged file counts as none; it gets the suffix ``.bad``.

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
