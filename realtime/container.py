"""Opens untrusted media files: no network, no playlist, no device."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from .errors import SourceError

# Containers that hold their own pictures. What opens other files or hosts (hls, dash, concat, sdp, image2,
# lavfi, ...) is not among them.
FILE_FORMATS = (
    *(
        "mov",
        "mp4",
        "m4v",
        "3gp",
        "matroska",
        "webm",
        "avi",
        "flv",
        "asf",
        "ogg",
        "mxf",
        "nut",
        "rm",
        "wtv",
    ),
    *(
        "mpegts",
        "mpeg",
        "mpegvideo",
        "h263",
        "h264",
        "hevc",
        "vvc",
        "av1",
        "obu",
        "ivf",
        "vc1",
        "dirac",
    ),
    *("cavsvideo", "dv", "mjpeg", "gif", "apng", "yuv4mpegpipe"),
)
_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least: C: is a drive
_DAMAGED = "damaged, never finished, or not a video"


def open_container(
    path: Path, *, allow_special: bool = False, decoder: HWAccel | None = None
) -> InputContainer:
    """Open an ordinary video file: no network, no playlist, no device.

    Args:
        path: the file.
        allow_special: it may be a pipe or a device.
        decoder: hardware that decodes, if it knows the codec.

    Raises:
        SourceError: it is missing, not a file, or not a readable video.
    """
    _check_file(path, allow_special=allow_special)
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FILE_FORMATS)}
    try:
        # an absolute name starts with a slash, which no protocol does
        return av.open(
            str(path.absolute()),
            container_options=options,
            metadata_errors="replace",
            hwaccel=decoder,
        )
    except (av.error.FFmpegError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{path}: not a readable video ({_reason(error)})") from error


def _check_file(path: Path, *, allow_special: bool) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        protocol = _PROTOCOL.match(str(path))
        if protocol:  # without the rest, which may hold a password
            raise SourceError(f"{protocol[0]}...: not a readable video (a URL, not a file)") from None
        raise SourceError(f"{path}: not a readable video ({_reason(error)})") from error
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path}: not a readable video (it is a folder)")
    if not stat.S_ISREG(mode) and not allow_special:
        raise SourceError(f"{path}: not a readable video (a pipe or device: needs --allow-special)")
    if stat.S_ISREG(mode) and status.st_size == 0:
        raise SourceError(f"{path}: not a readable video (the file is empty)")


def _reason(error: BaseException) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return _DAMAGED
    if isinstance(error, av.error.ArgumentError):  # how a format that is not allowed comes back
        return "not an allowed kind of file"
    return str(getattr(error, "strerror", None) or error).lower()


def choose_stream(container: InputContainer, path: Path, number: int | None) -> VideoStream:
    """Stream ``number`` among the video streams, else the first that is marked as default and is no
    cover picture, else the first that is no cover picture.

    Raises:
        SourceError: there is none, or nothing at all.
    """
    found = container.streams
    if not (found.video or found.audio or found.subtitles):  # an index that was cut leaves husks
        raise SourceError(f"{path}: not a readable video ({_DAMAGED})")
    streams = list(found.video)
    if number is not None:
        if not 0 <= number < len(streams):
            raise SourceError(f"{path}: no video stream {number} (it has {len(streams)}, from 0)")
        return streams[number]
    streams = [item for item in streams if not item.disposition & Disposition.attached_pic]
    if not streams:
        raise SourceError(f"{path}: no video stream")
    return next((item for item in streams if item.disposition & Disposition.default), streams[0])
