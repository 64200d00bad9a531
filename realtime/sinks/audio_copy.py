"""Copies the audio packets of an input into an output while its video is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard

from br2focus.realtime.container import choose_stream, open_container
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.video_info import VideoInfo

LOOK_AHEAD = Fraction(1, 2)  # audio is written this many seconds ahead of the video
MP4_AUDIO = frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"})  # what players expect in MP4


def suggest_suffix(info: VideoInfo) -> str:
    """Return ".mp4" if MP4 players support every audio codec of ``info.path``, else ".mkv".

    Raises:
        SourceError: the file cannot be opened.
    """
    with open_container(info.path, allow_special=True) as container:
        codecs = {_codec(stream) for stream in container.streams.audio}
    return ".mp4" if codecs <= MP4_AUDIO else ".mkv"


class AudioCopy:
    """Copies every audio stream of ``info.path`` packet by packet, with its timestamps.

    Chapters are copied if the whole input is used.

    Args:
        info: the input; with ``start`` or ``duration``, only packets inside that section are copied.
        target: gets one stream for each audio stream; must not be started yet.

    Raises:
        SettingsError: the container of ``target`` does not support one of the codecs.
        SourceError: the input cannot be opened.
    """

    def __init__(self, info: VideoInfo, target: OutputContainer) -> None:
        self._info, self._target = info, target
        self._source = open_container(info.path, allow_special=True)
        self._streams: dict[int, _Stream] = {}
        self._notices: list[str] = []
        self._packets: Iterator[Packet[Any]] = iter(())
        self._next: Packet[Any] | None = None
        self._end: Fraction | None = None
        try:
            self._add_streams()
        except BaseException:
            self.close()
            raise

    @property
    def streams(self) -> int:
        """Number of copied streams."""
        return len(self._streams)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was left out, and why."""
        return tuple(self._notices)

    def begin(self, first_frame: Fraction) -> None:
        """Start copying; the video begins at ``first_frame`` (seconds), where a partial input is cut."""
        info = self._info
        start = first_frame if info.start else None
        if info.duration is not None:
            self._end = first_frame + Fraction(info.duration)
        if self._streams:
            self._packets = self._read(start)
            self._next = next(self._packets, None)

    def advance(self, seconds: Fraction) -> None:
        """Write the packets up to shortly after ``seconds``; raises as the target's ``mux`` does."""
        while self._next is not None and _time(self._next) <= seconds + LOOK_AHEAD:
            self._streams[self._next.stream_index].mux(self._next, self._target)
            self._next = next(self._packets, None)

    def finish(self, last_frame: Fraction) -> None:
        """Write the remaining packets; for a job that stopped early, only up to ``last_frame``."""
        end = self._expected_end()
        if end is None or last_frame >= end - max(Fraction(2), end / 20):
            while self._next is not None:
                self.advance(_time(self._next))
            return
        self.advance(last_frame - LOOK_AHEAD)
        if self._next is not None:
            self._notices.append(f"audio after {float(last_frame):.2f} s left out: the video ends there")

    def close(self) -> None:
        """Release the input."""
        self._source.close()

    def _add_streams(self) -> None:
        for stream in self._source.streams:
            known = getattr(stream, "codec_context", None) is not None  # can be None despite its type
            if isinstance(stream, AudioStream) and known:
                self._streams[stream.index] = _Stream(self._copy_of(stream))
                continue
            stream.discard = Discard.all
            if stream.type == "audio":
                self._notices.append(f"audio stream {stream.index} left out: unknown codec")
        if self._info.start is None and self._info.duration is None:
            self._target.set_chapters(self._source.chapters())

    def _copy_of(self, stream: AudioStream) -> AudioStream:
        try:
            copy = self._target.add_stream_from_template(stream)
        except ValueError as error:
            kind = self._target.format.name
            raise SettingsError(
                f"{kind} cannot carry the {_codec(stream)} audio of {self._info.path.name}: "
                "choose a name that ends in .mkv"
            ) from error
        copy.disposition = stream.disposition
        if "language" in stream.metadata:
            copy.metadata["language"] = stream.metadata["language"]
        return copy

    def _read(self, start: Fraction | None) -> Iterator[Packet[Any]]:
        """Yield the packets of the section in input order, shifted like the video frames."""
        shift, end = self._info.shift, self._end
        if start is not None and start > 2:  # one second earlier, as seeking lands on or after a keyframe
            self._source.seek(int((start - shift - 1) * av.time_base))
        chosen = [self._source.streams[index] for index in self._streams]
        try:
            for packet in self._source.demux(chosen):
                if not packet.size or packet.pts is None:
                    continue
                _move(packet, shift)
                begins = packet.pts * packet.time_base
                ends = begins + (packet.duration or 0) * packet.time_base
                if end is not None and begins > end + 1:  # streams may be unevenly interleaved
                    return
                if (start is None or ends > start) and (end is None or begins < end):
                    yield packet
        except av.FFmpegError as error:
            self._notices.append(f"audio is damaged and ends early ({error.strerror})")

    def _expected_end(self) -> Fraction | None:
        """Return the expected end of the video in seconds."""
        video = choose_stream(self._source, self._info.path, None)
        if video.duration is None or video.time_base is None:
            return self._end
        ticks = (video.start_time or 0) + video.duration
        declared = ticks * video.time_base + self._info.shift
        return declared if self._end is None else min(self._end, declared)


@dataclass
class _Stream:
    """An output stream and its last decoding timestamp, which must increase strictly."""

    copy: AudioStream
    last: int | None = None

    def mux(self, packet: Packet[Any], target: OutputContainer) -> None:
        if packet.dts is None:
            packet.dts = packet.pts
        if self.last is not None and packet.dts is not None and packet.dts <= self.last:
            packet.dts = self.last + 1
            packet.pts = max(packet.pts or 0, packet.dts)
        self.last = packet.dts
        packet.stream = self.copy
        target.mux(packet)


def _move(packet: Packet[Any], shift: Fraction) -> None:
    ticks = round(shift / packet.time_base)
    packet.pts = (packet.pts or 0) + ticks
    if packet.dts is not None:
        packet.dts += ticks


def _time(packet: Packet[Any]) -> Fraction:
    ticks = packet.pts if packet.dts is None else packet.dts
    return Fraction(ticks or 0) * packet.time_base


def _codec(stream: AudioStream) -> str:
    context = getattr(stream, "codec_context", None)
    return "unknown" if context is None else str(context.codec.canonical_name)
