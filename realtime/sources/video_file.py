"""A video file as a source: upright BGR frames with the file's timestamps."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from br2focus.models.paths import AnyPath
from br2focus.realtime.colour import HDR, tags, to_bgr
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.video_info import VideoInfo

from .decoding import VideoDecoder
from .orientation import Orientation
from .source import Source
from .timestamps import TimestampRepair

_FALLBACK_RATE = Fraction(25)


class VideoFile(Source):
    """Yields every decodable frame of a video file exactly once, upright, with its own timestamp.

    Timestamps are those of the file. An offset of the first frame is kept; only a negative first timestamp
    shifts the stream to 0 (by ``info.shift``). See `TimestampRepair` for broken ones. The constructor opens
    the file and decodes its first frame; the source can be iterated once.

    Args:
        path: a regular file. Playlists, URLs and devices are rejected.
        start: skip everything before this many seconds after the first frame.
        duration: skip everything from this many seconds after ``start``.
        stream: number among the video streams; by default the first stream that is marked as default and is
            not a cover picture, else the first that is not a cover picture.
        strict: raise at the first damage instead of counting it.
        max_pixels: largest accepted frame in pixels.
        allow_special: also read pipes and devices.
        gpu: number of a GPU to decode on where possible; a notice reports where it is not.
        codecs: FFmpeg names of the codecs that may be decoded; None for all.

    Raises:
        SourceError: the file is not a readable video, has no video stream or no decodable frames, or is
            too large; while iterating, also damage if ``strict``, or a section without frames.
    """

    info: VideoInfo

    def __init__(
        self,
        path: AnyPath,
        *,
        start: float | None = None,
        duration: float | None = None,
        stream: int | None = None,
        strict: bool = False,
        max_pixels: int = 2**26,
        allow_special: bool = False,
        gpu: int | None = None,
        codecs: Collection[str] | None = None,
    ) -> None:
        self._path = Path(path)
        if (start or 0) < 0 or (duration is not None and duration <= 0):
            raise SourceError(f"{path}: start is at least 0 and duration above 0 seconds")
        self._pictures = VideoDecoder(
            self._path,
            stream=stream,
            max_pixels=max_pixels,
            strict=strict,
            allow_special=allow_special,
            gpu=gpu,
            codecs=codecs,
        )
        self._reformatter = VideoReformatter()
        self._notices: dict[str, str] = {}
        self._closed = self._started = False
        try:
            self._frames = self._pictures.frames()
            self._first = self._first_frame()
            self._nominal = _nominal_rate(self._pictures.stream)
            self._repair = self._new_repair()
            self._orientation = self._orient(self._first)
            self.info = replace(self._describe(), start=start, duration=duration)
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """Packets rejected or missing so far, plus frames that the decoder reports as corrupt."""
        return self._pictures.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose timestamp was missing or wrong."""
        return self._repair.repaired

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about this file so far, one line each."""
        known = self._notices | self._pictures.notices | self._repair.notices
        if self._repair.missing:
            known["missing"] = f"no timestamps: made from the nominal rate {self._nominal}"
        return tuple(known.values())

    def close(self) -> None:
        """Release the file and end the iteration; may be called from any thread and repeatedly."""
        self._closed = True
        self._pictures.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._closed or self._started:
            state = "closed" if self._closed else "read already"
            raise SourceError(f"{self._path}: {state}; open it again")
        self._started = True
        try:
            index = 0
            for pts, picture in self._selected():
                image = self._image(picture)
                yield Frame(image, index, pts, self.info.time_base, time.monotonic())
                index += 1
            if not index and not self._closed:
                raise SourceError(f"{self._path}: no frames between the given start and end")
        finally:
            self.close()

    def _first_frame(self) -> av.VideoFrame:
        first = next(self._frames, None)
        if first is None:
            count, why = self._pictures.damaged, "it holds no packets"
            if count:
                why = f"encrypted or damaged: {count} packets refused or missing"
            raise SourceError(f"{self._path}: no decodable video frames ({why})")
        return first

    def _selected(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames between start and end with repaired timestamps."""
        info = self.info
        origin = self._new_repair()(self._first.pts, self._first.dts)
        begin = origin + _exact(info.start or 0) / info.time_base
        end = None if info.duration is None else begin + _exact(info.duration) / info.time_base
        pictures = chain([self._first], self._frames)
        if info.start and self._first.pts is not None and self._pictures.seekable:
            pictures = self._from(int(begin) - self._repair.shift)
        for picture in pictures:
            pts = self._repair(picture.pts, picture.dts)
            if end is not None and pts >= end:
                return
            if pts >= begin:
                yield pts, picture

    def _from(self, target: int) -> chain[av.VideoFrame]:
        """Yield frames from the keyframe before ``target`` (a timestamp of the file) on."""
        pictures = self._pictures.frames(target)
        first = next(pictures, None)
        if first is None or first.pts is None or first.pts > target:  # the index is wrong
            return chain([], self._pictures.frames())
        return chain([first], pictures)

    def _new_repair(self) -> TimestampRepair:
        time_base = self._pictures.stream.time_base or Fraction(1, 90000)
        origin = self._first.pts if self._first.pts is not None else self._first.dts
        step = 1 / self._nominal / time_base
        return TimestampRepair(step=step, time_base=time_base, origin=origin)

    def _image(self, picture: av.VideoFrame) -> Image:
        if picture.interlaced_frame:
            self._notices.setdefault("interlaced", "interlaced: both fields shown at once")
        image = self._orientation.apply(to_bgr(picture, self._reformatter))
        size = (image.shape[1], image.shape[0])
        if size != self.info.size and self.info.size:
            old = f"{self.info.size[0]} x {self.info.size[1]}"
            text = f"the picture size changes, first from {old} to {size[0]} x {size[1]}"
            self._notices.setdefault("size", text)
        return image

    def _orient(self, frame: av.VideoFrame) -> Orientation:
        found: Any = frame.side_data.get("DISPLAYMATRIX")
        if found is not None:
            matrix = memoryview(bytes(found)).cast("i")
            try:
                return Orientation.from_matrix(matrix.tolist())
            except ValueError as error:
                self._notices["rotation"] = f"rotation {frame.rotation} ignored: {error}"
        return Orientation()

    def _describe(self) -> VideoInfo:
        stream, frame = self._pictures.stream, self._first
        colour = tags(frame)
        if colour.transfer in HDR:
            kind = HDR[colour.transfer]
            self._notices["hdr"] = f"HDR ({kind}) converted as plain colours, without tone mapping"
        aspect = stream.sample_aspect_ratio or Fraction(1)
        aspect = aspect if aspect > 0 else Fraction(1)
        rate = _constant_rate(stream, self._nominal)
        return VideoInfo(
            name=str(self._path),
            size=self._orientation.size((frame.width, frame.height)),
            rate=rate,
            frames=stream.frames or _expected_frames(stream, rate),
            path=self._path,
            time_base=stream.time_base or Fraction(1, 90000),
            sample_aspect=1 / aspect if self._orientation.transpose else aspect,
            colour=colour,
            shift=self._repair.shift * (stream.time_base or Fraction(1, 90000)),
        )


def _exact(seconds: float) -> Fraction:
    # 0.4 as typed, not the slightly larger binary fraction, which would skip the frame at 0.4 s
    return Fraction(seconds).limit_denominator(1_000_000)


def _nominal_rate(stream: av.video.stream.VideoStream) -> Fraction:
    """Return the frames per second for generating timestamps that the file lacks."""
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return _FALLBACK_RATE


def _constant_rate(stream: av.video.stream.VideoStream, nominal: Fraction) -> Fraction | None:
    """Return the nominal rate, or None if the average rate indicates a variable rate."""
    average = stream.average_rate
    return nominal if not average or abs(average / nominal - 1) < 0.05 else None


def _expected_frames(stream: av.video.stream.VideoStream, rate: Fraction | None) -> int | None:
    if rate is None or not stream.duration or stream.time_base is None or stream.duration < 0:
        return None
    return round(stream.duration * stream.time_base * rate)
