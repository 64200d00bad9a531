"""Opens a source from what a user names: a file, a folder, an address, a camera, or pictures in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SourceError

from .arrays import Frames
from .images import IMAGE_SUFFIXES, ImageFiles
from .live.open import TEST, LiveOptions, is_file_name, open_live
from .live.stream import is_url
from .source import Source
from .video_file import VideoFile

NO_OPTIONS = LiveOptions()


def open_source(
    what: AnyPath | int | Iterable[Any],
    *,
    start: float | None = None,
    duration: float | None = None,
    strict: bool = False,
    rate: float = 30,
    rgb: bool = False,
    live: LiveOptions = NO_OPTIONS,
) -> Source:
    """The source that ``what`` names; a context manager.

    Args:
        what: a video file; an image or a folder of images, in the order of their names; a camera's number,
            name or device; an address such as "rtsp://..."; "test" for the built-in moving focus pull; or an
            iterable of pictures as `Frames` takes them. A file is read as fast as its reader asks for frames.
        start, duration: the part of a video file, in seconds.
        strict: damage in a video file is an error.
        rate: frames a second of pictures in memory and of images.
        rgb: pictures in memory have red first.
        live: how a camera or an address is opened.

    Raises:
        SourceError: there is no such file, or it holds no readable video or images.
        SettingsError: the address is not allowed.
    """
    if isinstance(what, int):
        return open_live(str(what), live)
    if not isinstance(what, str | os.PathLike):
        return Frames(what, rate, rgb=rgb)
    name = os.fspath(what)
    path = Path(name)
    if isinstance(what, str) and (name == TEST or is_url(name) or not _is_path(path)):
        return open_live(name, live)
    if not path.exists():
        raise SourceError(f"{path}: no such file")
    if path.is_dir():
        return ImageFiles(_images_in(path), rate=rate)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], rate=rate)
    return VideoFile(path, start=start, duration=duration, strict=strict)


def _is_path(path: Path) -> bool:
    """Whether this is meant to be a file or folder, and not the name of a camera."""
    return path.exists() or path.suffix.lower() in IMAGE_SUFFIXES or is_file_name(str(path))


def _images_in(folder: Path) -> list[Path]:
    """The images directly in ``folder``, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise SourceError(f"{folder}: no images in this folder")
    return found
