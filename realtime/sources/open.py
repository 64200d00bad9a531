"""Opens the source that a user names: a file, folder, address, camera, or images in memory."""

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
    """Open the source described by ``what``; a context manager.

    Args:
        what: a video file; an image, or a folder of images sorted by name; a camera's number, name or device;
            an address such as "rtsp://..."; "test" for the built-in moving focus pull; or an iterable of
            images as accepted by `Frames`. A file is read as fast as its consumer requests frames.
        start, duration: the section of a video file, in seconds.
        strict: treat damage in a video file as an error.
        rate: frames per second of images in memory and of image files.
        rgb: images in memory are in RGB order.
        live: how to open a camera or an address.

    Raises:
        SourceError: the file does not exist, or contains no readable video or images.
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
    """Return whether this names a file or folder rather than a camera."""
    return path.exists() or path.suffix.lower() in IMAGE_SUFFIXES or is_file_name(str(path))


def _images_in(folder: Path) -> list[Path]:
    """Return the images directly in ``folder``, sorted by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise SourceError(f"{folder}: no images in this folder")
    return found
