"""Decodes every decodable frame of a video file and counts the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from br2focus.realtime.container import choose_stream, open_container
from br2focus.realtime.errors import SourceError

T = TypeVar("T")
_READ_ERRORS = 16  # consecutive read errors after which the rest of a file is skipped


class _StoppedError(Exception):
    """The decoder was closed from outside."""


class _RestartError(Exception):
    """A packet was rejected while frames were decoded in parallel."""


class VideoDecoder:
    """The decoded frames of one video stream, as stored; damaged packets are counted and skipped.

    Frames are decoded in parallel until a packet is rejected. Since parallel decoding then loses intact
    frames as well, the file is read again without it and the frames already delivered are skipped.

    Args:
        path: the file.
        stream: number among the video streams, or None for the default (`choose_stream`).
        max_pixels: largest accepted frame in pixels.
        strict: raise at the first damage.
        allow_special: also read pipes and devices.
        gpu: number of a GPU to decode on where possible; None for no GPU.
        codecs: FFmpeg names of the codecs that may be decoded; None for all.

    Attributes:
        seekable: True for a regular file, which can be opened again.
        damaged: packets rejected or missing, plus frames that the decoder reports as corrupt.
        notices: one line per kind of problem.

    Raises:
        SourceError: as in `open_container` and `choose_stream`; the codec is not allowed or the frame is
            too large; while iterating, damage if ``strict``.
    """

    def __init__(
        self,
        path: Path,
        *,
        stream: int | None,
        max_pixels: int,
        strict: bool,
        allow_special: bool,
        gpu: int | None = None,
        codecs: Collection[str] | None = None,
    ) -> None:
        self.path, self.damaged, self._codecs = path, 0, codecs
        self.seekable = not allow_special or path.is_file()
        self.notices: dict[str, str] = {}
        self._number, self._max_pixels, self._strict = stream, max_pixels, strict
        self._gpu = gpu if self.seekable else None
        self._busy, self._closed, self._truncated = threading.Lock(), False, 0
        self._container: InputContainer | None = None
        self.stream = self._open(parallel=self.seekable)
        self._fresh = True

    def frames(self, target: int | None = None) -> Iterator[av.VideoFrame]:
        """Yield frames in display order, from the last keyframe before the timestamp ``target`` if given.

        A second call starts over. The iteration ends early after `close`.
        """
        given = 0
        try:
            try:
                for frame in self._decode(target, parallel=self.seekable):
                    yield frame
                    given += 1
            except _RestartError:
                for number, frame in enumerate(self._decode(target, parallel=False)):
                    if number >= given:
                        yield frame
        except _StoppedError:
            return

    def close(self) -> None:
        """End the iteration and release the file.

        If a decoder call is in progress, the iteration ends after it and the next `close` releases the file.
        """
        self._closed = True
        if self._busy.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._busy.release()

    def _decode(self, target: int | None, *, parallel: bool) -> Iterator[av.VideoFrame]:
        if self.seekable and not self._fresh:
            self._guarded(lambda: self._open(parallel=parallel))
        self._fresh, self.damaged = False, 0
        self._damage(self._truncated, "truncated")
        if target is not None and self.seekable:
            self._guarded(lambda: self._seek(target))
        for packet in self._packets():
            try:
                frames = self._guarded(packet.decode)
            except av.error.EOFError:
                continue
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError as error:
                if parallel:
                    raise _RestartError from error
                self._damage(1, "a packet that cannot be decoded")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._damage(1, "a corrupt frame")
                yield frame

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        assert self._container is not None
        packets, errors = self._container.demux(self.stream), 0
        while errors < _READ_ERRORS:
            try:
                packet = self._guarded(lambda: next(packets, None))  # noqa: B023 - called at once
            except av.error.FFmpegError as error:
                errors += 1
                self._damage(1, f"reading failed: {error.strerror}")
                packets = self._container.demux(self.stream)
                continue
            if packet is None:
                return
            errors = 0
            yield packet
        self.notices["read"] = f"reading failed {errors} times in a row: the rest was left out"

    def _open(self, *, parallel: bool) -> VideoStream:
        self._release()
        self._container = self._opened(on_gpu=parallel)
        try:
            stream = choose_stream(self._container, self.path, self._number)
            context = stream.codec_context
            if context is None:
                raise SourceError(f"{self.path}: no decodable video frames (unknown codec)")
            codec = context.codec.canonical_name
            if self._codecs is not None and codec not in self._codecs:
                raise SourceError(f"{self.path}: codec {codec} is not allowed (--allow-codec {codec})")
            if context.width * context.height > self._max_pixels:
                size = f"{context.width} x {context.height}"
                raise SourceError(f"{self.path}: {size} is over {self._max_pixels} pixels a picture")
            context.options = context.options | {"max_pixels": str(self._max_pixels)}
            stream.thread_type = "AUTO" if parallel else "SLICE"
            self._truncated = self._missing_samples(stream)
        except BaseException:
            self._release()
            raise
        self.stream = stream
        return stream

    def _opened(self, *, on_gpu: bool) -> InputContainer:
        """Open the file with a GPU decoder if available; a damaged file is read on the CPU."""
        if on_gpu and self._gpu is not None:
            try:
                return open_container(self.path, decoder=HWAccel("cuda", str(self._gpu)))
            except SourceError as error:
                why = str(error).rpartition("(")[2].rstrip(")")
                self.notices["gpu"] = f"decoded on the CPU: the GPU does not do it ({why})"
                self._gpu = None
        return open_container(self.path, allow_special=not self.seekable)

    def _missing_samples(self, stream: VideoStream) -> int:
        """Return how many frames the index places beyond the end of the file."""
        assert self._container is not None
        if not self.seekable or "mov" not in self._container.format.name:
            return 0
        # Size of the open file: another file, or none, may have its name by now.
        size, entries, missing = self._container.size, stream.index_entries, 0
        for number in range(len(entries) - 1, -1, -1):
            if entries[number].pos + entries[number].size <= size:
                break
            missing += 1
        if missing:
            here = len(entries) - missing
            self.notices["truncated"] = f"truncated: {here} of {len(entries)} frames"
        return missing

    def _seek(self, target: int) -> None:
        assert self._container is not None
        try:
            self._container.seek(target, stream=self.stream, backward=True)
        except av.error.FFmpegError:
            self._container.seek(0)  # no index: the caller skips frames that come too early

    def _damage(self, count: int, what: str) -> None:
        self.damaged += count
        if count and self._strict:
            raise SourceError(f"{self.path}: damaged ({what}); without --strict the rest is used")

    def _guarded(self, call: Callable[[], T]) -> T:
        """Run a decoder call under the lock, so `close` cannot release the file during it."""
        with self._busy:
            if self._closed:
                raise _StoppedError
            return call()

    def _release(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None
