"""Still images as a source, and the classification of inputs as images or videos."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.video_info import SourceInfo

from .source import Source

IMAGE_SUFFIXES = (".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = tuple(
    """
    .3gp .asf .avi .dv .flv .ivf .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .nut .ogg .ogv .rm
    .ts .vob .webm .wmv .y4m .264 .265 .h264 .h265 .hevc .m2v .mjpeg .mjpg .obu
    """.split()
)
_MAX_BYTES = 1 << 30


class ImageFiles(Source):
    """Image files (PNG, JPEG, BMP, TIFF, WebP), one frame each; their sizes may differ.

    EXIF orientation is applied once. Gray becomes BGR, 16 bits are rounded to 8, floating-point values are
    interpreted as 0 to 1, and alpha is ignored. The source can be iterated repeatedly until it is closed.

    Args:
        paths: the files, in order.
        rate: frames per second, used for the frames' timestamps.
        max_pixels: largest accepted image in pixels; checked in the header, before decoding.

    Raises:
        SourceError: ``paths`` is empty or the rate is not above 0; while iterating, a file is missing,
            not an image, damaged or too large. The message names the file.
    """

    def __init__(
        self,
        paths: Sequence[AnyPath],
        *,
        rate: Fraction | float = 1,
        max_pixels: int = 2**26,
    ) -> None:
        self._paths, self._max_pixels = [Path(path) for path in paths], max_pixels
        self._closed = threading.Event()
        if not self._paths:
            raise SourceError("no images given")
        if rate <= 0:
            raise SourceError(f"the rate of images is above 0, got {rate}")
        count = len(self._paths)
        name = str(self._paths[0]) if count == 1 else f"{count} images from {self._paths[0].parent}"
        self.info = SourceInfo(name=name, rate=Fraction(rate).limit_denominator(100_000), frames=count)

    def close(self) -> None:
        """End the iteration before its next image."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        if self._closed.is_set():
            raise SourceError(f"{self.info.name}: closed; open it again")
        time_base = 1 / Fraction(self.info.rate or 1)
        for index, path in enumerate(self._paths):
            if self._closed.is_set():
                return
            image = read_image(path, max_pixels=self._max_pixels)
            yield Frame(image, index, index, time_base, time.monotonic())


def read_image(path: AnyPath, *, max_pixels: int = 2**26) -> Image:
    """Read an image as uint8 BGR H x W x 3, upright, as described in `ImageFiles`.

    Raises:
        SourceError: it is missing, not a PNG, JPEG, BMP, TIFF or WebP image, damaged, or too large.
    """
    path = Path(path)
    data = _read(path)
    size = image_size(data)
    if size is None:
        raise SourceError(f"{path}: not a readable image (PNG, JPEG, BMP, TIFF, WebP)")
    if size[0] * size[1] > max_pixels:
        raise SourceError(f"{path}: {size[0]} x {size[1]} is over {max_pixels} pixels a picture")
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        )  # applies the EXIF orientation, too
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path}: not a readable image (damaged, or of a kind that OpenCV lacks)")
    return _eight_bits(image)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise SourceError(f"{path}: not a readable image (missing, a folder, a pipe or a device)")
        if path.stat().st_size > _MAX_BYTES:
            raise SourceError(f"{path}: not a readable image (over {_MAX_BYTES} bytes)")
        return path.read_bytes()
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise SourceError(f"{path}: not a readable image ({reason})") from error


def _eight_bits(image: np.ndarray) -> Image:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return cv2.convertScaleAbs(image, alpha=1 / 257)  # type: ignore[return-value]
    scaled = np.nan_to_num(image.astype(np.float64), nan=0.0) * 255
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in the header of an image, before any rotation.

    Returns:
        None if the data is not in one of the five formats.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack(">II", data[16:24])
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg_size(data)
        if data[:2] == b"BM":
            return _bmp_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):  # truncated
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]
    return None


def _bmp_size(data: bytes) -> tuple[int, int]:
    if data[14] == 12:
        return struct.unpack("<HH", data[18:22])
    width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    place = struct.unpack(order + "I", data[4:8])[0]
    found = {}
    for number in range(struct.unpack(order + "H", data[place : place + 2])[0]):
        entry = data[place + 2 + 12 * number :][:12]
        tag, kind = struct.unpack(order + "HH", entry[:4])
        if tag in (256, 257) and kind == 3:
            found[tag] = struct.unpack(order + "H", entry[8:10])[0]
        elif tag in (256, 257) and kind == 4:
            found[tag] = struct.unpack(order + "I", entry[8:12])[0]
    return (found[256], found[257]) if len(found) == 2 else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def media_kind(path: AnyPath) -> Literal["image", "video"]:
    """Classify a file by its first bytes: an image if `ImageFiles` reads it, else left to `VideoFile`.

    A file that cannot be read is classified by its suffix, so the error message fits the file.
    """
    path = Path(path)
    try:
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(16)
            magic = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
            is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
            if head:
                return "image" if head.startswith(magic) or is_webp else "video"
    except OSError:
        pass
    return "image" if path.suffix.lower() in IMAGE_SUFFIXES else "video"


def expand(paths: Iterable[AnyPath]) -> list[Path]:
    """Return files as given, and for each folder the images and videos in its tree, sorted by name.

    Hidden files and folders are skipped, links to folders are not followed, and duplicates are removed.

    Raises:
        SourceError: a path does not exist, a folder cannot be read, or nothing was found.
    """
    found: dict[Path, None] = {}
    given = [Path(path) for path in paths]
    for path in given:
        if path.is_dir():
            found.update(dict.fromkeys(_media_below(path)))
        elif os.path.lexists(path):
            found[path] = None
        else:
            raise SourceError(f"{path}: no such file or folder")
    if not found:
        names = ", ".join(map(str, given)) or "no input"
        raise SourceError(f"{names}: no image and no video found")
    return list(found)


def _media_below(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be read ({error.strerror})") from error

    files: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            Path(root, name)
            for name in names
            if name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        ]
    return sorted(files)
