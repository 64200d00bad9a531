"""Encodes one video stream into a container file that stays playable if the process is killed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
from av.packet import Packet
from av.stream import Stream
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from br2focus.realtime.errors import SinkError
from br2focus.realtime.output import Output
from br2focus.realtime.video_info import Colour

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
FRAGMENT_SECONDS = Fraction(1, 4)  # loss if the process is killed, besides the encoder's own delay
KEYFRAME_SECONDS = 2
LEAST_MOV_TIMESCALE = 10_000  # FFmpeg doubles a coarser timescale until it reaches this


@dataclass(frozen=True)
class Encoder:
    """An encoder and its options.

    Attributes:
        name: FFmpeg's name, e.g. "libx264".
        pix_fmt: pixel format of the input frames.
        options: encoder options.
        tag: four-character code in MP4 and MOV, if it differs from FFmpeg's default.
    """

    name: str
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None


class Muxer:
    """A container with one video stream; more streams may be added to `container` before `start`.

    Args:
        output: its temporary file is written immediately; the suffix selects the container.
        encoder: encoder of the video stream, which is stream 0.

    Raises:
        SinkError: this FFmpeg build lacks the encoder.
    """

    def __init__(self, output: Output, encoder: Encoder) -> None:
        self._path, self._encoder = output.path, encoder
        self._format = CONTAINERS[output.path.suffix.lower()]
        self._file = _File(output.temporary)
        try:
            self.container = av.open(self._file, "w", format=self._format)
            stream = self.container.add_stream(encoder.name, options=dict(encoder.options))
        except (ValueError, av.FFmpegError) as error:
            self._file.close()
            raise SinkError(f"{self._path}: no encoder {encoder.name!r} here ({error})") from error
        assert isinstance(stream, VideoStream)
        self._stream = stream
        self._last: int | None = None
        self._held: Packet[Stream] | None = None
        self._drained = False
        self.before_packet: Callable[[Fraction], None] = lambda seconds: None

    def start(
        self,
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction | None,
        colour: Colour,
        sample_aspect: Fraction = Fraction(1),
    ) -> None:
        """Open the encoder and write the header.

        Raises:
            SinkError: the encoder rejects the size or an option.
        """
        context = self._stream.codec_context
        context.width, context.height = size
        context.pix_fmt = self._encoder.pix_fmt
        self._stream.time_base = context.time_base = time_base
        # Encoders assume 24 for an unknown rate. A rate finer than the time base produces frames of zero
        # duration.
        context.framerate = min(rate or Fraction(30), 1 / time_base, Fraction(240))
        context.gop_size = max(round(KEYFRAME_SECONDS * context.framerate), 1)
        context.sample_aspect_ratio = sample_aspect
        context.colorspace, context.color_primaries = colour.matrix, colour.primaries
        context.color_trc = colour.transfer
        context.color_range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
        if self._encoder.tag and self._format in ("mp4", "mov"):
            context.codec_tag = self._encoder.tag
        self.container.container_options.update(self._container_options(time_base))
        try:
            self.container.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            self._file.check()
            text = f"{self._encoder.name} cannot encode {size[0]} x {size[1]} frames ({error})"
            raise SinkError(f"{self._path}: {text}") from error

    def encode(self, frame: av.VideoFrame, seconds: Fraction) -> None:
        """Encode ``frame`` with presentation time ``seconds`` and write the packets that are ready.

        Raises:
            SinkError: its time does not exceed that of the previous frame.
            OSError, av.FFmpegError: encoding or writing fails.
        """
        time_base = self._stream.codec_context.time_base
        pts = round(seconds / time_base)
        if self._last is not None and pts <= self._last:
            raise SinkError(
                f"{self._path}: frame times must increase, got {float(seconds):.6f} s "
                f"after {float(self._last * time_base):.6f} s"
            )
        self._last = pts
        frame.pts, frame.time_base = pts, time_base
        self._mux(frame)

    def drain(self) -> None:
        """Flush the encoder; no frame may follow.

        Raises:
            OSError, av.FFmpegError: encoding or writing fails.
        """
        if not self._drained:
            self._drained = True
            self._mux(None)

    def finish(self) -> None:
        """Flush the encoder and write the trailer.

        Raises:
            OSError, av.FFmpegError: encoding or writing fails.
        """
        try:
            self.drain()
            self.container.close()
            self._file.check()  # closing a fragmented MP4 on a full disk reports success
        finally:
            self._file.close()

    def abandon(self, *, complete: bool) -> None:
        """Release everything after a failure; with ``complete``, flush the encoder first."""
        with suppress(Exception):
            if complete:
                self.drain()
        self._file.refuse = not complete
        with suppress(Exception):
            self.container.close()
        self._file.close()

    @property
    def broken(self) -> bool:
        """True if a write to the disk failed."""
        return self._file.error is not None

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._put(packet)
        if frame is None and self._held is not None:
            self.container.mux(self._held)
            self._held = None
        self._file.check()

    def _put(self, packet: Packet[Stream]) -> None:
        """Write the previous packet: the last one in an MP4 fragment needs its true duration."""
        assert packet.dts is not None
        held, self._held = self._held, packet
        if held is not None:
            held.duration = packet.dts - (held.dts or 0)
            self.container.mux(held)
        self.before_packet(packet.dts * packet.time_base)

    def _container_options(self, time_base: Fraction) -> dict[str, str]:
        options = {"flush_packets": "1", "max_interleave_delta": "1000000"}
        piece = FRAGMENT_SECONDS * 1000
        if self._format not in ("mp4", "mov"):
            # by default every stream is shifted if the audio starts before zero
            return options | {
                "cluster_time_limit": str(int(piece)),
                "avoid_negative_ts": "disabled",
            }
        timescale = time_base.denominator
        while timescale < LEAST_MOV_TIMESCALE:
            timescale *= 2
        flags = "frag_keyframe+hybrid_fragmented"
        if not any(_is_adts(stream) for stream in self.container.streams):
            flags += "+delay_moov"  # keeps edit lists in a killed file; FFmpeg cannot with ADTS
        return options | {
            "movflags": flags,
            "frag_duration": str(int(piece * 1000)),
            "use_editlist": "1",
            "movie_timescale": str(timescale),
        }


def _is_adts(stream: Stream) -> bool:
    context = stream.codec_context
    return stream.type == "audio" and context.codec.canonical_name == "aac" and not context.extradata


class _File:
    """A file for PyAV that stores its first error, since FFmpeg reports a full disk late or never."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self.refuse = False
        self._raw: IO[bytes] = path.open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        self.check()
        if self.refuse:
            raise OSError("abandoned")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def check(self) -> None:
        """Raise the first error again."""
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
