"""A video file as a source: upright BGR pictures with the times of the file."""

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
from .source import ClosingSource
from .timestamps import TimestampRepair

_FALLBACK_RATE = Fraction(25)


class VideoFile(ClosingSource):
    """Every decodable frame of a video file, once, upright, with its own time.

    The times are those of the file: an offset of the first frame is kept, only a first time below zero
    moves the stream to 0 (``info.shift`` says by how much); see `TimestampRepair` for broken ones.
    The file is opened, and its first frame decoded, at once; it is read by iterating, one time.

    Args:
        path: an ordinary file. Playlists, URLs and devices are refused.
        start: leave out what comes before this many seconds after the first frame.
        duration: leave out what comes this many seconds after ``start``.
        stream: number among the video streams; default: the first that is marked as default and is no
            cover picture, else the first that is no cover picture.
        strict: raise at the first damage instead of counting it.
        max_pixels: largest picture in pixels.
        allow_special: read pipes and devices too.
        gpu: number of a GPU that decodes what it can; a notice tells where it does not.
        codecs: names of the codecs that may be decoded, as FFmpeg calls them; None: all.

    Raises:
        SourceError: not a readable video, no video stream, no decodable video frames, too large; when
            iterating, also damage if ``strict``, and a part without frames.
    """

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
        """Packets refused or missing, and frames the decoder calls corrupt, so far."""
        return self._pictures.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Frames whose time was missing or wrong, so far."""
        return self._repair.repaired

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of this file, one line each, so far."""
        known = self._notices | self._pictures.notices | self._repair.notices
        if self._repair.missing:
            known["missing"] = f"no timestamps: made from the nominal rate {self._nominal}"
        return tuple(known.values())

    def close(self) -> None:
        """Release the file; from any thread, as often as you like. An iteration ends early."""
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
        """Frames between start and end, with usable times."""
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
        """Frames from the keyframe before ``target`` on, in the times of the file."""
        pictures = self._pictures.frames(target)
        first = next(pictures, None)
        if first is None or first.pts is None or first.pts > target:  # the index misleads
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
    # 0.4 as typed, not the binary fraction above it, which would leave out the frame at 0.4 s
    return Fraction(seconds).limit_denominator(1_000_000)


def _nominal_rate(stream: av.video.stream.VideoStream) -> Fraction:
    """Frames a second to make times with where the file gives none."""
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return _FALLBACK_RATE


def _constant_rate(stream: av.video.stream.VideoStream, nominal: Fraction) -> Fraction | None:
    """The rate, unless the average says that it varies."""
    average = stream.average_rate
    return nominal if not average or abs(average / nominal - 1) < 0.05 else None


def _expected_frames(stream: av.video.stream.VideoStream, rate: Fraction | None) -> int | None:
    if rate is None or not stream.duration or stream.time_base is None or stream.duration < 0:
        return None
    return round(stream.duration * stream.time_base * rate)
