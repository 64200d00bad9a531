"""Presets: viewer settings in an editable TOML file, validated strictly on load."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from br2focus.models.paths import AnyPath

from .errors import SettingsError, SinkError
from .folders import config_folder
from .frame import Roi
from .output import Output
from .overlay_style import OverlayStyle
from .settings import ViewSettings
from .smoothing.factory import CHOICES

MAX_BYTES = 1 << 20


def preset_path(name: str) -> Path:
    """Return the file of a preset.

    A ``name`` that ends in .toml is used as a path. Any other name refers to a file in ``BR2FOCUS_CONFIG`` or
    the user's config folder.

    Raises:
        SettingsError: ``name`` is not a valid file name.
    """
    if name.endswith(".toml"):
        return Path(name)
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise SettingsError(f"preset {name!r}: give a plain name, or a path that ends in .toml")
    return config_folder() / "presets" / f"{name}.toml"


def list_presets() -> list[str]:
    """Return the names of the presets in the user's folder."""
    return sorted(path.stem for path in preset_path("any").parent.glob("*.toml"))


def load_preset(path: AnyPath) -> ViewSettings:
    """Read a preset.

    Raises:
        SettingsError: the file cannot be read, is not TOML, or has an unknown key or an invalid value. The
            message names every faulty entry.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path}: too large for a preset")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error})") from error
    try:
        # Strict JSON validation accepts arrays for tuples and converts nothing else.
        if values.get("smoothing") == "off":
            values["smoothing"] = None
        return TypeAdapter(ViewSettings).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        places = "; ".join(dict.fromkeys(_explain(e["loc"], e["type"], e["msg"]) for e in error.errors()))
        raise SettingsError(f"{path}: {places}") from error


def save_preset(settings: ViewSettings, path: AnyPath) -> None:
    """Write ``settings`` to ``path``, replacing an existing file.

    A hand-written preset only needs the values that differ from the defaults.

    Raises:
        SinkError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path.parent}: {error.strerror}") from error
    with Output(path, overwrite=True) as output:
        output.temporary.write_text(tomli_w.dumps(_values(settings)), encoding="utf-8")


def _values(settings: ViewSettings) -> dict[str, Any]:
    """Return ``settings`` as TOML values. TOML has no null, so None is omitted; it is the default there."""
    values = asdict(settings)
    values["rois"] = [roi._asdict() for roi in settings.rois]
    values["smoothing"] = settings.smoothing or "off"
    return {key: value for key, value in values.items() if value is not None}


def _explain(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place)) or "the whole"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [field.name for field in fields(ViewSettings)]
        if place[0] == "style":
            known = [field.name for field in fields(OverlayStyle)]
        elif place[0] == "rois":
            known = list(Roi._fields)
        return f"{name}: unknown key, the known ones are {', '.join(known)}"
    if place[:1] == ("smoothing",):
        return f"smoothing: {CHOICES}"
    return f"{name}: {message.removeprefix('Value error, ')}"
