"""A file or folder that gets its final name only when it is complete."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from .errors import SinkError

REMEDIES = {
    "ENOSPC": "the disk is full: free some space or choose another folder",
    "EDQUOT": "the quota is used up: free some space or choose another folder",
    "EFBIG": "the file would be larger than this system or shell allows (ulimit -f)",
    "EACCES": "no permission: choose another folder",
    "EPERM": "no permission: choose another folder",
    "EROFS": "the folder is read-only: choose another one",
    "ENAMETOOLONG": "the name is too long: choose a shorter one",
    "ENOENT": "its folder does not exist: make it first",
    "ENOTDIR": "its folder is not a folder: choose another one",
}


def refusal(path: Path, error: Exception) -> SinkError:
    """``error`` while writing ``path`` as one line: what, where, what to do."""
    number = getattr(error, "errno", None)
    remedy = REMEDIES.get(os.errno_name(number)) if number else None  # type: ignore[attr-defined]
    return SinkError(f"{path}: {remedy or str(error).strip() or type(error).__name__}")
