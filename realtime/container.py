"""Opens untrusted media files without network access, playlists or devices."""

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

# Self-contained containers only. Formats that open other files or hosts (hls, dash, concat, sdp, image2,
# lavfi, ...) are excluded.
FILE_FORMATS = tuple(
    """
    mov mp4 m4v 3gp matroska webm avi flv asf ogg mxf nut rm wtv mpegts mpeg mpegvideo h263 h264
    hevc vvc av1 obu ivf vc1 dirac cavsvideo dv mjpeg gif apng yuv4mpegpipe
    """.split()
)
_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # at least two letters: C: is a drive
_DAMAGED = "damaged, never finished, or not a video"


def open_container(
    path: Path, *, allow_special: bool = False, decoder: HWAccel | None = None
) -> InputContainer:
    """Open a regular video file without network access, playlists or devices.

    Args:
        path: the file.
        allow_special: also accept a pipe or a device.
        decoder: hardware decoder to use if it supports the codec.

    Raises:
        SourceError: the file is missing, is not a file, or is not a readable video.
    """
    _check_file(path, allow_special=allow_special)
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FILE_FORMATS)}
    try:
        # an absolute path starts with a slash, so it cannot be parsed as a protocol
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
        if protocol:  # omit the rest, which may contain a password
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
    if isinstance(error, av.error.ArgumentError):  # FFmpeg's error for a format outside the whitelist
        return "not an allowed kind of file"
    return str(getattr(error, "strerror", None) or error).lower()


def choose_stream(container: InputContainer, path: Path, number: int | None) -> VideoStream:
    """Return the video stream to decode.

    That is stream ``number`` among the video streams if it is given. Otherwise it is the first stream that is
    marked as default and is not a cover picture, or else the first stream that is not a cover picture.

    Raises:
        SourceError: there is no such video stream, or no stream of any kind.
    """
    found = container.streams
    if not (found.video or found.audio or found.subtitles):  # a truncated index leaves empty streams
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
