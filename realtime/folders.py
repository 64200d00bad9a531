"""Where files of the user are kept: settings, and what can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_config_path


def config_folder() -> Path:
    """Where settings of the user are kept: ``BR2FOCUS_CONFIG``, or the user's config folder."""
    return Path(os.environ.get("BR2FOCUS_CONFIG") or user_config_path("br2focus"))


def cache_folder() -> Path:
    """Where converted models are kept: ``BR2FOCUS_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("BR2FOCUS_CACHE") or user_cache_path("br2focus"))
