"""Annotated video: encodes pictures with the times of their frames and copies audio bit for bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from br2focus.models.paths import AnyPath
from br2focus.realtime.colour import from_bgr, resolved
from br2focus.realtime.frame import Image
from br2focus.realtime.output import Output
from br2focus.realtime.picture import FrameTime
from br2focus.realtime.result import FocusResult
from br2focus.realtime.video_info import Colour, HasInfo, SourceInfo, VideoInfo, info_of

from .audio_copy import AudioCopy
from .codecs import VideoSettings
from .muxer import Muxer
from .sink import FileSink, Render, picture_of

DEFAULT_RATE = Fraction(30)  # for pictures without a time if the source has no known rate
FINE_TIME_BASE = Fraction(1, 90_000)  # holds every usual frame rate exactly


class VideoWriter(FileSink):
    """Writes pictures or results as one video.

    Timestamps are those of the frames; Matroska and WebM round them to a millisecond. Colour tags and pixel
    aspect ratio are taken from ``like``. If ``like`` is a file, its chapters and audio streams are copied;
    other metadata (location, device) is not. Odd sizes are padded by repeating the last row or column.

    Args:
        path: the file; .mp4, .mov, .mkv or .webm.
        like: the source of the frames, or its ``info``; None for a standalone video.
        render: returns the picture of a result, uint8 BGR; by default what the pipeline drew, else the frame.
        settings: codec and quality.
        overwrite: replace an existing file, but never the input.

    Raises:
        SettingsError: the container does not support the codec or the audio.
        SinkError: the file cannot be written; raised before the first frame where possible.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, av.FFmpegError)

    def __init__(
        self,
        path: AnyPath,
        like: HasInfo | SourceInfo | None = None,
        *,
        render: Render = picture_of,
        settings: VideoSettings | None = None,
        overwrite: bool = False,
    ) -> None:
        encoder = (settings or VideoSettings()).encoder(Path(path))
        info = info_of(like)
        self._info = info if isinstance(info, VideoInfo) else None
        source = self._info.path if self._info else None
        super().__init__(Output(path, overwrite=overwrite, source=source))
        self._rate, self._render, self._pix_fmt = info.rate, render, encoder.pix_fmt
        self._audio: AudioCopy | None = None
        self._canvas: _Canvas | None = None
        self._reformatter = VideoReformatter()
        self._colour = Colour()
        self._frames, self._last = 0, Fraction(0)
        self._kept: Path | None = None
        try:
            self._muxer = Muxer(self._output, encoder)
            self._add_audio()
        except BaseException:
            self._output.discard()
            raise

    @property
    def audio_streams(self) -> int:
        """Number of copied audio streams."""
        return self._audio.streams if self._audio else 0

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about the output, one line each."""
        audio = self._audio.notices if self._audio else ()
        return audio + (self._canvas.notices if self._canvas else ())

    @property
    def kept(self) -> Path | None:
        """The playable file with ".partial" in its name that `abort` left behind, or None."""
        return self._kept

    def write(self, result: FocusResult | Image, *, of: FocusResult | None = None) -> None:
        """Write one result, or one picture: uint8 BGR H x W x 3.

        A picture from `FocusResult.overlay` carries the time of its frame. Any other array needs ``of``, if
        ``like`` is a file; else it follows one frame after the previous picture, at the rate of ``like`` (30
        per second if unknown).

        Args:
            result: what to write.
            of: the result whose time the picture has.

        Raises:
            SinkError: it cannot be written; every later call raises the same error.
            ValueError: it is not such a picture, its time is unknown, or the writer is closed.
        """
        if not isinstance(result, np.ndarray):
            if self._render is picture_of:
                picture_of(result)  # refused here, the next result may be written
            super().write(result)
            return
        time = FrameTime.of(of.frame) if of else getattr(result, "time", None)
        if result.dtype != np.uint8 or result.ndim != 3 or result.shape[2] != 3 or not result.size:
            raise ValueError(f"a picture is uint8 H x W x 3 (BGR), got {result.dtype} {result.shape}")
        if time is None and self._info is not None:
            raise ValueError("this picture has no time of its own: write(picture, of=result)")
        with self._writing():
            self._write_at(np.asarray(result), time)

    def _write(self, result: FocusResult) -> None:
        self._write_at(self._render(result), FrameTime.of(result.frame))

    def _write_at(self, image: Image, time: FrameTime | None) -> None:
        if time is None:
            step = 1 / (self._rate or DEFAULT_RATE)
            seconds = self._last + step if self._frames else Fraction(0)
            time = FrameTime(seconds, FINE_TIME_BASE, (image.shape[1], image.shape[0]))
        if self._canvas is None:
            self._canvas = self._begin(image, time)
        picture = self._canvas.fit(image)
        self._muxer.encode(from_bgr(picture, self._colour, self._pix_fmt, self._reformatter), time.seconds)
        self._frames, self._last = self._frames + 1, time.seconds

    def _add_audio(self) -> None:
        if self._info is None:
            return
        try:
            self._audio = AudioCopy(self._info, self._muxer.container)
        except BaseException:
            self._muxer.abandon(complete=False)
            raise
        self._muxer.before_packet = self._audio.advance

    def _begin(self, image: Image, time: FrameTime) -> _Canvas:
        height, width = image.shape[:2]
        canvas = _Canvas((width, height), even=self._pix_fmt == "yuv420p")
        info = self._info or VideoInfo(name="")
        self._colour = resolved(info.colour, time.size)
        self._muxer.start(canvas.size, time.time_base, self._rate, self._colour, info.sample_aspect)
        if self._audio:
            self._audio.begin(time.seconds)
        return canvas

    def _finish(self) -> None:
        if not self._frames:  # without frames there is no valid video
            self._cancel()
            return
        self._muxer.drain()
        if self._audio:
            self._audio.finish(self._last)
        self._muxer.finish()
        self._close_audio()
        self._output.commit()

    def _cancel(self) -> None:
        self._muxer.abandon(complete=bool(self._frames) and not self._muxer.broken)
        self._close_audio()
        if self._frames:
            self._kept = self._output.temporary
            self._output.release()
        else:
            self._output.discard()

    def _close_audio(self) -> None:
        if self._audio:
            self._audio.close()


class _Canvas:
    """The frame size of the video; pictures of other sizes are letterboxed into it."""

    def __init__(self, size: tuple[int, int], *, even: bool) -> None:
        self._first = size
        grow = 2 if even else 1
        self.size = (-(-size[0] // grow) * grow, -(-size[1] // grow) * grow)
        self._refitted = 0

    @property
    def notices(self) -> tuple[str, ...]:
        if not self._refitted:
            return ()
        width, height = self._first
        return (f"{self._refitted} frames of another size were fitted into {width} x {height}",)

    def fit(self, image: Image) -> Image:
        """Return ``image`` as uint8 BGR of `size`."""
        if image.shape[1::-1] != self._first:
            image = self._letterbox(image)
            self._refitted += 1
        right, bottom = self.size[0] - image.shape[1], self.size[1] - image.shape[0]
        if right or bottom:
            image = _bordered(image, (0, bottom, 0, right), cv2.BORDER_REPLICATE)
        return image

    def _letterbox(self, image: Image) -> Image:
        (width, height), (rows, columns) = self._first, image.shape[:2]
        scale = min(width / columns, height / rows)
        inner = (
            min(max(round(columns * scale), 1), width),
            min(max(round(rows * scale), 1), height),
        )
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, inner, interpolation=method)  # type: ignore[assignment]
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        right, bottom = width - inner[0] - left, height - inner[1] - top
        return _bordered(image, (top, bottom, left, right), cv2.BORDER_CONSTANT)


def _bordered(image: Image, sides: tuple[int, int, int, int], kind: int) -> Image:
    """Return ``image`` with extra pixels at its top, bottom, left and right."""
    return cv2.copyMakeBorder(image, *sides, kind, value=(0, 0, 0))  # type: ignore[return-value]
