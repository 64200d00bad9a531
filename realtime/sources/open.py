"""Opens the source that a user names: a file, folder, address, camera, or images in memory."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2

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
            an address such as "rtsp://..."; "test" for the built-in moving focus pull (live, 640 x 480 at
            30 frames per second, without end); one image, or an iterable of them,
            as accepted by `Frames`. A file is read as fast as its consumer requests frames.
        start, duration: the section of a video file, in seconds.
        strict: treat damage in a video file as an error.
        rate: frames per second of images in memory and of image files.
        rgb: images in memory are in RGB order.
        live: how to open a camera or an address.

    Raises:
        SourceError: the file does not exist, or contains no readable video or images.
        SettingsError: the address is not allowed.
    """
    if not isinstance(what, str | os.PathLike):
        return _open_object(what, rate, rgb, live)
    name = os.fspath(what)
    path = Path(name)
    if not isinstance(name, str) or not name:
        raise SourceError(f"{what!r}: not the name of a source")
    device = path.parts[:2] == ("/", "dev")
    if device or (isinstance(what, str) and (name == TEST or is_url(name) or not _is_path(path))):
        return open_live(name, live)
    if not path.exists():
        raise SourceError(f"{path}: no such file")
    if path.is_dir():
        return ImageFiles(_images_in(path), rate=rate)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], rate=rate)
    return VideoFile(path, start=start, duration=duration, strict=strict)


def _open_object(what: Any, rate: float, rgb: bool, live: LiveOptions) -> Source:
    """Open the number of a camera, one image, or an iterable of images."""
    if isinstance(what, bool | bytes | bytearray):
        raise SourceError(f"{what!r}: not the name of a source, and not images")
    if hasattr(what, "__index__") and not hasattr(what, "shape"):
        return open_live(str(operator.index(what)), live)
    if getattr(what, "ndim", None) == 0:  # a NumPy integer
        return open_live(str(operator.index(what)), live)
    one = getattr(what, "ndim", None) in (2, 3) or isinstance(what, cv2.UMat) or hasattr(what, "getbands")
    if not one and not isinstance(what, Iterable):
        raise SourceError(f"{type(what).__name__}: not the name of a source, and not images")
    return Frames([what] if one else what, rate, rgb=rgb)


def _is_path(path: Path) -> bool:
    """Return whether this names a file or folder rather than a camera."""
    return path.exists() or path.suffix.lower() in IMAGE_SUFFIXES or is_file_name(str(path))


def _images_in(folder: Path) -> list[Path]:
    """Return the images directly in ``folder``, sorted by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise SourceError(f"{folder}: no images in this folder")
    return found
