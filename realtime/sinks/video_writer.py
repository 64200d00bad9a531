"""The annotated video: pictures encoded with the times of their frames, audio copied bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import cv2
from av.video.reformatter import VideoReformatter

from br2focus.models.paths import AnyPath
from br2focus.realtime.colour import from_bgr, resolved
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import FocusResult, Image
from br2focus.realtime.output import Output
from br2focus.realtime.video_info import Colour, SourceInfo, VideoInfo

from .audio_copy import AudioCopy
from .muxer import FORMATS, Encoder, Muxer
from .sink import FileSink

Render = Callable[[FocusResult], Image]


@dataclass(frozen=True)
class _Codec:
    """An encoder of the user's choice: its FFmpeg name, containers, defaults and the range of its CRF."""

    encoder: str
    suffixes: tuple[str, ...]
    crf: int | None = None
    worst_crf: int = 51
    preset_option: str | None = "preset"
    preset: str | None = None
    pix_fmt: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    tag: str | None = None


# No B-frames: with a fragment boundary among reordered frames, FFmpeg writes an MP4 edit list that ends
# before the last frame. It is also faster, and less is lost in a kill.
CODECS = {
    # The fastest preset with CABAC, 8x8 transform and deblocking back on: at the same quality 2.5 times
    # less CPU time than "veryfast" and 1.5 times its size (measured on a 720p heat overlay).
    "h264": _Codec(
        "libx264",
        (".mp4", ".mov", ".mkv"),
        crf=20,
        preset="ultrafast",
        options=(("bf", "0"), ("x264-params", "cabac=1:8x8dct=1:deblock=1")),
    ),
    "hevc": _Codec(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        crf=23,
        preset="veryfast",
        tag="hvc1",
        options=(("x265-params", "log-level=error:bframes=0"),),
    ),
    "av1": _Codec("libsvtav1", (".mp4", ".mkv", ".webm"), crf=32, worst_crf=63, preset="8"),
    "vp9": _Codec(
        "libvpx-vp9",
        (".webm", ".mkv", ".mp4"),
        crf=32,
        worst_crf=63,
        preset_option="cpu-used",
        preset="8",
        options=(("deadline", "realtime"), ("row-mt", "1"), ("b", "0")),
    ),
    "ffv1": _Codec("ffv1", (".mkv",), preset_option=None, pix_fmt="yuv444p"),
}


@dataclass(frozen=True)
class VideoSettings:
    """How the video is encoded.

    Attributes:
        codec: "h264" (plays everywhere), "hevc", "av1", "vp9" or "ffv1" (lossless coding, in .mkv).
        crf: constant quality, 0 the best; None = the default of the codec.
        preset: speed of the encoder, e.g. "slow" for h264, "6" for av1; None = fast enough for live use.

    Raises:
        SettingsError: an unknown codec, or a CRF that the codec does not have.
    """

    codec: str = "h264"
    crf: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise SettingsError(f"codec {self.codec!r}: choose one of {', '.join(CODECS)}")
        codec = CODECS[self.codec]
        if self.crf is not None and codec.crf is None:
            raise SettingsError(f"codec {self.codec!r} has no CRF: leave it out")
        if self.crf is not None and not 0 <= self.crf <= codec.worst_crf:
            raise SettingsError(f"crf {self.crf}: {self.codec} takes 0 to {codec.worst_crf}")
        if self.preset is not None and codec.preset_option is None:
            raise SettingsError(f"codec {self.codec!r} has no preset: leave it out")

    def encoder(self, path: Path) -> Encoder:
        """The encoder for a file of this name.

        Raises:
            SettingsError: the container that its suffix means does not hold the codec.
        """
        codec = CODECS[self.codec]
        if path.suffix.lower() not in FORMATS:
            raise SettingsError(f"{path.name}: end the name in one of {', '.join(FORMATS)}")
        if path.suffix.lower() not in codec.suffixes:
            allowed = " or ".join(codec.suffixes)
            raise SettingsError(f"{path.name}: {self.codec} goes into {allowed}")
        options = dict(codec.options)
        crf = codec.crf if self.crf is None else self.crf
        if crf is not None:
            options["crf"] = str(crf)
        preset = self.preset or codec.preset
        if codec.preset_option and preset:
            options[codec.preset_option] = preset
        return Encoder(codec.encoder, codec.pix_fmt, options, codec.tag)


class VideoWriter(FileSink):
    """Writes ``render(result)`` of every result as one video.

    The times are those of the frames; Matroska and WebM round them to a millisecond. Colour tags and the
    shape of a pixel are those of ``info``, chapters and every audio stream of ``info.path`` are copied,
    other metadata (place, device) is not. Odd sizes get one more row or column, a copy of the last.

    Args:
        path: the file; .mp4, .mov, .mkv or .webm.
        info: the source; a `VideoInfo` gives the audio, the colours and the shape of a pixel.
        render: the picture of a result, uint8 BGR; the first one sets the size of the video.
        settings: codec and quality.
        overwrite: replace an existing file, but never the input.

    Raises:
        SettingsError: the container does not hold the codec or the audio.
        SinkError: the file cannot be written; before the first frame where that can be known.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, av.FFmpegError)

    def __init__(
        self,
        path: AnyPath,
        info: SourceInfo,
        *,
        render: Render,
        settings: VideoSettings = VideoSettings(),
        overwrite: bool = False,
    ) -> None:
        encoder = settings.encoder(Path(path))
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
        """How many audio streams are copied."""
        return self._audio.streams if self._audio else 0

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the output, one line each."""
        audio = self._audio.notices if self._audio else ()
        return audio + (self._canvas.notices if self._canvas else ())

    @property
    def kept(self) -> Path | None:
        """The playable part that `abort` left under a name with ".partial", if any."""
        return self._kept

    def _write(self, result: FocusResult) -> None:
        image = self._render(result)
        if self._canvas is None:
            self._canvas = self._begin(image, result)
        picture = self._canvas.fit(image)
        frame = from_bgr(picture, self._colour, self._pix_fmt, self._reformatter)
        self._muxer.encode(frame, result.frame.seconds)
        self._frames, self._last = self._frames + 1, result.frame.seconds

    def _add_audio(self) -> None:
        if self._info is None:
            return
        try:
            self._audio = AudioCopy(self._info, self._muxer.container)
        except BaseException:
            self._muxer.abandon(complete=False)
            raise
        self._muxer.before_packet = self._audio.advance

    def _begin(self, image: Image, result: FocusResult) -> _Canvas:
        height, width = image.shape[:2]
        canvas = _Canvas((width, height), even=self._pix_fmt == "yuv420p")
        info = self._info or VideoInfo(name="")
        self._colour = resolved(info.colour, result.frame.size)
        self._muxer.start(canvas.size, result.frame.time_base, self._rate, self._colour, info.sample_aspect)
        if self._audio:
            self._audio.begin(result.frame.seconds)
        return canvas

    def _finish(self) -> None:
        if not self._frames:  # a video of no frames is no video
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
    """The size of the video; pictures of another size are fitted into it without stretching."""

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
        """uint8 BGR of `size`."""
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
    """``image`` with more pixels at its top, bottom, left and right."""
    return cv2.copyMakeBorder(image, *sides, kind, value=(0, 0, 0))  # type: ignore[return-value]
