"""A network stream as a source: RTSP, UDP, SRT, and HTTP if allowed.

Opening and reading have their own timeouts; without them, FFmpeg waits forever for a camera that hangs. No
message from this module contains the password of the address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from urllib.parse import urlsplit

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from br2focus.realtime.colour import to_bgr
from br2focus.realtime.errors import AbsentError, RefusedError, SettingsError, SourceError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import Source
from br2focus.realtime.video_info import SourceInfo

# The protocols that FFmpeg may use for each scheme; no address may lead to local files. (An RTSP server can
# still redirect to another one; FFmpeg has no option to prevent that.)
SCHEMES = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtp,udp,tcp,tls",
    "udp": "udp",
    "srt": "srt",
    "http": "http,tcp",
    "https": "https,tls,tcp",
}
WEB, TLS = ("http", "https"), ("https", "rtsps")
# Formats allowed in a stream. Playlists (hls, dash), which refer to other addresses, are excluded.
STREAM_FORMATS = "rtsp,mpegts,mpjpeg,mjpeg,matroska,webm,mov,mp4,flv,h264,hevc,jpeg_pipe"
# A packet that took at least this share of the timeout was buffered by FFmpeg and is not new. One that
# exceeded the timeout by this many seconds arrived after the whole process had been suspended.
LATE, STOPPED = 0.9, 0.5
PROBE_BYTES = 1 << 20
ANALYSIS_MICROSECONDS = "300000"  # analysed before the first frame; the contents are known sooner
TIME_BASE = Fraction(1, 90000)
_NO_CONNECTION = (ConnectionRefusedError, TimeoutError, av.error.ExitError, av.error.OSError)
_REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


def is_url(text: str) -> bool:
    """Return whether ``text`` is an address that `NetworkStream` accepts."""
    return "://" in text


def redacted(url: str) -> str:
    """Return ``url`` for messages, without user, password, query, and anything like a password in the path.

    The address is processed as plain text, since even an invalid one may contain a password.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    rest = re.sub(r"[?#].*", "?***", rest)
    rest = re.sub(r"(?i)((?:pass\w*|pwd|token|key)=)[^/&_]+", r"\1***", rest)
    return f"{scheme}://{rest}"


def check_address(url: str, *, allow_web: bool) -> list[str]:
    """Reject an invalid stream address before anything is opened.

    Returns:
        The IP addresses of the host; empty if there is no host, or it does not resolve now.

    Raises:
        SettingsError: the scheme is unknown, if it is http without ``allow_web``, or if the host is
            link-local, where cloud machines serve their secrets.
    """
    name = redacted(url)
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname
    except ValueError:
        raise SettingsError(f"{name}: not an address") from None
    if scheme not in SCHEMES:
        raise SettingsError(f"{name}: not one of {', '.join(SCHEMES)}")
    if scheme in WEB and not allow_web:
        raise SettingsError(f"{name}: {scheme} needs --allow-web")
    try:
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{name}: the port is no number from 0 to 65535") from None
    addresses = _addresses(host)
    for address in addresses:
        if (getattr(address, "ipv4_mapped", None) or address).is_link_local:
            raise SettingsError(f"{name}: an address on the local link is refused")
    return list(dict.fromkeys(map(str, addresses)))


def at_address(url: str, address: str) -> tuple[str, dict[str, str]]:
    """Return ``url`` with ``address`` as its host, and FFmpeg options that tell a web server the host name.

    FFmpeg would resolve the name again and could reach another address than the one that was checked. With
    TLS the name stays, because the certificate requires it; no link-local service that serves secrets uses
    TLS.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() in TLS:
        return url, {}
    before, at, place = parts.netloc.rpartition("@")
    _, colon, port = place.rpartition(":") if re.search(r":\d*$", place) else (place, "", "")
    host = f"[{address}]" if ":" in address else address
    options = {"headers": f"Host: {place}\r\n"} if parts.scheme.lower() in WEB else {}
    return parts._replace(netloc=f"{before}{at}{host}{colon}{port}").geturl(), options


def _addresses(host: str | None) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None) if host else []
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


class NetworkStream(Source):
    """Live frames of a network stream.

    Args:
        url: rtsp, rtsps, udp, srt; http and https with ``allow_web``.
        opening, reading: timeouts in seconds. Opening has two steps with this timeout each: connecting (to
            all addresses of the host in turn) and probing.
        allow_web: accept http and https.
        max_pixels: largest accepted frame in pixels.

    Raises:
        SettingsError: the address is not a valid stream address (see `check_address`).
        RefusedError: the login is refused.
        SourceError: nobody answers, the stream has no video, or its frames are too large; also while
            iterating.
    """

    def __init__(
        self,
        url: str,
        *,
        opening: float = 2.5,
        reading: float = 2.0,
        allow_web: bool = False,
        max_pixels: int = 2**26,
    ) -> None:
        self._name = redacted(url)
        self._damaged, self._repaired, self._reading = 0, 0, reading
        self._closed = threading.Event()
        self._container = self._opened(url, opening, reading, allow_web=allow_web)
        try:
            self._stream = self._picture_stream(max_pixels)
        except BaseException:
            self._container.close()
            raise
        rate = self._stream.average_rate
        self.info = SourceInfo(name=self._name, rate=rate if rate else None, live=True)

    @property
    def damaged(self) -> int:
        """Packets rejected by the decoder, plus frames that it reports as corrupt."""
        return self._damaged

    @property
    def repaired_timestamps(self) -> int:
        """Number of frames without a timestamp."""
        return self._repaired

    def close(self) -> None:
        """End the iteration at the next frame or timeout; may be called from any thread.

        The connection itself is closed in the reading thread, at the end of the iteration or the context.
        """
        self._closed.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        reformatter, index = VideoReformatter(), 0
        begun = time.monotonic()
        try:
            for picture in self._pictures():
                arrived = time.monotonic()
                base = picture.time_base or TIME_BASE
                pts = picture.pts
                if pts is None:
                    self._repaired += 1
                    pts = round(Fraction(arrived - begun) / base)
                yield Frame(to_bgr(picture, reformatter), index, pts, base, arrived)
                index += 1
        finally:
            self._container.close()

    def _opened(self, url: str, opening: float, reading: float, *, allow_web: bool) -> InputContainer:
        addresses = check_address(url, allow_web=allow_web)
        host, scheme = urlsplit(url).hostname, urlsplit(url).scheme.lower()
        if host and not addresses:
            raise SourceError(f"{self._name}: the host name does not resolve")
        options = {
            "protocol_whitelist": SCHEMES[scheme],
            "format_whitelist": STREAM_FORMATS,
            "probesize": str(PROBE_BYTES),
            "analyzeduration": ANALYSIS_MICROSECONDS,
        }
        if scheme in ("rtsp", "rtsps"):
            options["rtsp_transport"] = "tcp"
        if scheme in WEB:
            options["max_redirects"] = "0"
        places = [at_address(url, address) for address in addresses] or [(url, {})]
        places = [place for n, place in enumerate(places) if place not in places[:n]]
        end = time.monotonic() + opening
        for number, (place, more) in enumerate(places, 1):
            left = max(0.1, end - time.monotonic()) / (len(places) - number + 1)
            try:
                return self._connected(place, options | more, (left, reading))
            except SourceError as error:
                if number == len(places) or not isinstance(error.__context__, _NO_CONNECTION):
                    raise
        raise AssertionError("there is one at least")

    def _connected(self, url: str, options: dict[str, str], timeout: tuple[float, float]) -> InputContainer:
        try:
            return av.open(url, container_options=options, timeout=timeout, metadata_errors="replace")
        except ConnectionRefusedError as error:
            raise AbsentError(f"{self._name}: {_reason(error)}") from None
        except _REFUSED:
            raise RefusedError(f"{self._name}: login refused; check user and password") from None
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from None  # its text contains the password

    def _picture_stream(self, max_pixels: int) -> VideoStream:
        streams = self._container.streams.video
        if not streams or streams[0].codec_context is None:
            raise SourceError(f"{self._name}: no video stream")
        stream = streams[0]
        context = stream.codec_context
        if context.width * context.height > max_pixels:
            size = f"{context.width} x {context.height}"
            raise SourceError(f"{self._name}: {size} is over {max_pixels} pixels a picture")
        context.options = context.options | {"max_pixels": str(max_pixels)}
        stream.thread_type = "SLICE"  # each frame thread adds one frame of delay
        context.flags |= Flags.low_delay
        return stream

    def _pictures(self) -> Iterator[av.VideoFrame]:
        packets, clean = self._container.demux(self._stream), False
        while not self._closed.is_set():
            begun = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise SourceError(f"{self._name}: {_reason(error)}") from None
            if packet is None:
                return
            if LATE * self._reading < time.monotonic() - begun < self._reading + STOPPED:
                raise SourceError(f"{self._name}: no answer in time")
            try:
                pictures = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged += 1
                continue
            for picture in pictures:
                self._damaged += picture.is_corrupt
                clean = clean or not picture.is_corrupt  # garbage occasionally decodes to a picture
                if clean:
                    yield picture


def _reason(error: BaseException) -> str:
    """Describe the cause in words that never contain the address."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError):
        return "nobody answers there"
    if isinstance(error, av.error.InvalidDataError):
        return "not a video stream"
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()
