"""Locations of per-user files: settings and cached models."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_config_path


def config_folder() -> Path:
    """Return the folder for user settings: ``BR2FOCUS_CONFIG`` or the user's config folder."""
    return Path(os.environ.get("BR2FOCUS_CONFIG") or user_config_path("br2focus"))


def cache_folder() -> Path:
    """Return the folder for converted models: ``BR2FOCUS_CACHE`` or the user's cache folder."""
    return Path(os.environ.get("BR2FOCUS_CACHE") or user_cache_path("br2focus"))
