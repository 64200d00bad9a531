"""Blur maps as data: 16-bit images, NumPy arrays or a gray video."""

from __future__ import annotations

import zipfile
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult
from br2focus.realtime.video_info import Colour, HasInfo, SourceInfo, VideoInfo, info_of

from .images import by_index, save_picture
from .muxer import Encoder, Muxer
from .sink import FileSink

FULL = 65535  # 16-bit value of P = 1


class _Store(Protocol):
    def add(self, result: FocusResult) -> None: ...

    def finish(self) -> None: ...

    def cancel(self) -> None: ...


class MapWriter(FileSink):
    """Writes the blur map of every result, in a format determined by the name.

    * no suffix: a folder of 16-bit gray PNGs named by frame index, 0..65535 = P 0..1;
    * ``.npz``: per frame an array ``blur_000000`` (float16 H x W) and, with ``radii``, ``radius_000000``
      (float16 H x W, blur radius in pixels of the frame); also ``index``, ``pts`` (int64) and ``time_base``
      (numerator and denominator). Read it with `numpy.load`, one map at a time;
    * ``.mkv``: lossless 16-bit gray FFV1; times are rounded to a millisecond.

    Every format is written incrementally, so memory does not grow with the clip (16 bytes per frame for
    ``.npz``).

    Args:
        path: the file or folder.
        like: the source of the results, or its ``info``.
        overwrite: replace an existing file, or files with the same names in a folder.
        radii: also write blur radii; only for ``.npz`` and models that estimate them.

    Raises:
        SettingsError: the suffix is unknown, or radii are requested in another format; while writing,
            the model estimates no radii.
        SinkError: the output exists, is the input, or cannot be written.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, av.FFmpegError, cv2.error)

    def __init__(
        self,
        path: AnyPath,
        like: HasInfo | SourceInfo | None = None,
        *,
        overwrite: bool = False,
        radii: bool = False,
    ) -> None:
        path, info = Path(path), info_of(like)
        suffix = path.suffix.lower()
        if suffix not in ("", ".npz", ".mkv"):
            raise SettingsError(f"{path.name}: name maps as a folder, or *.npz, or *.mkv")
        if radii and suffix != ".npz":
            raise SettingsError(f"{path.name}: blur radii are written to a .npz file alone")
        source = info.path if isinstance(info, VideoInfo) else None
        super().__init__(Output(path, folder=not suffix, overwrite=overwrite, source=source))
        self._store: _Store
        try:
            if suffix == ".npz":
                self._store = _Arrays(self._output.temporary, radii=radii)
            elif suffix == ".mkv":
                self._store = _Video(self._output, info.rate)
            else:
                self._store = _Folder(self._output.temporary)
        except BaseException:
            self._output.discard()
            raise

    def _write(self, result: FocusResult) -> None:
        self._store.add(result)

    def _finish(self) -> None:
        self._store.finish()
        self._output.commit()

    def _cancel(self) -> None:
        try:
            self._store.cancel()
        finally:
            self._output.discard()


def in_16_bits(result: FocusResult) -> NDArray[np.uint16]:
    """Return the map of ``result`` as uint16 H x W, 0..65535 = P 0..1."""
    values: NDArray[np.uint16] = np.rint(result.blur * np.float32(FULL)).astype(np.uint16)
    return values


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, result: FocusResult) -> None:
        save_picture(self._folder / f"{by_index(result)}.png", in_16_bits(result))

    def finish(self) -> None: ...

    def cancel(self) -> None: ...


class _Arrays:
    """A ``.npz`` file written member by member; `numpy.savez` would hold the whole clip in memory."""

    def __init__(self, path: Path, *, radii: bool) -> None:
        self._radii = radii
        self._file = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._index, self._pts = array("q"), array("q")
        self._time_base = Fraction(0)

    def add(self, result: FocusResult) -> None:
        self._put(f"blur_{by_index(result)}", result.blur.astype(np.float16))
        if self._radii:
            if result.radius is None:
                raise SettingsError("this model gives no blur radii: --radii is for native")
            self._put(f"radius_{by_index(result)}", result.radius.astype(np.float16))
        self._index.append(result.frame.index)
        self._pts.append(result.frame.pts)
        self._time_base = result.frame.time_base

    def finish(self) -> None:
        self._put("index", np.array(self._index, np.int64))
        self._put("pts", np.array(self._pts, np.int64))
        self._put("time_base", np.array(self._time_base.as_integer_ratio(), np.int64))
        self._file.close()

    def cancel(self) -> None:
        self._file.close()

    def _put(self, name: str, values: NDArray[Any]) -> None:
        with self._file.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, values, allow_pickle=False)  # type: ignore[no-untyped-call]


class _Video:
    def __init__(self, output: Output, rate: Fraction | None) -> None:
        self._muxer = Muxer(output, Encoder("ffv1", "gray16le", {"level": "3", "slicecrc": "1"}))
        self._rate, self._size = rate, (0, 0)

    def add(self, result: FocusResult) -> None:
        if not any(self._size):
            self._size = result.frame.size
            colour = Colour(full_range=True)
            self._muxer.start(self._size, result.frame.time_base, self._rate, colour)
        values = in_16_bits(result)
        if result.frame.size != self._size:
            values = cv2.resize(values, self._size, interpolation=cv2.INTER_LINEAR).astype(np.uint16)
        frame = av.VideoFrame.from_ndarray(values, format="gray16le")
        self._muxer.encode(frame, result.frame.seconds)

    def finish(self) -> None:
        self._muxer.finish()

    def cancel(self) -> None:
        self._muxer.abandon(complete=False)
