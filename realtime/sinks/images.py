"""Annotated images: a folder of them, or a single one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cv2
from numpy.typing import NDArray

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult

from .sink import FileSink, Render

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def by_index(result: FocusResult) -> str:
    """Return the index of the frame as six digits, e.g. "000123"."""
    return f"{result.frame.index:06d}"


def save_picture(path: AnyPath, image: NDArray[Any]) -> None:
    """Write ``image`` (uint8 BGR, or uint16 gray) in the format given by the suffix.

    Raises:
        SinkError: the format cannot encode it, for instance because of its size.
        OSError: the file cannot be written.
    """
    path = Path(path)
    done, data = cv2.imencode(path.suffix, image)
    if not done:
        raise SinkError(f"{path}: cannot be encoded as {path.suffix}")
    path.write_bytes(data.tobytes())


def check_suffix(suffix: str) -> str:
    """Return ``suffix`` in lower case.

    Raises:
        SettingsError: it is not a supported image format.
    """
    if suffix.lower() not in SUFFIXES:
        raise SettingsError(f"picture format {suffix!r}: choose one of {', '.join(SUFFIXES)}")
    return suffix.lower()


class ImageFolderWriter(FileSink):
    """Writes ``render(result)`` of every result as a separate image into a folder.

    Args:
        folder: appears under this name once all images are written.
        render: returns the picture of a result, uint8 BGR.
        suffix: image format, e.g. ".png".
        name: returns the file name of a result without suffix; must be unique per result.
        overwrite: accept a folder that already contains files; those with the same names are replaced.

    Raises:
        SettingsError: the suffix is unknown.
        SinkError: the folder already contains files, or cannot be written.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, cv2.error)

    def __init__(
        self,
        folder: AnyPath,
        *,
        render: Render,
        suffix: str = ".png",
        name: Callable[[FocusResult], str] = by_index,
        overwrite: bool = False,
    ) -> None:
        self._render, self._name = render, name
        self._suffix = check_suffix(suffix)
        super().__init__(Output(folder, folder=True, overwrite=overwrite))

    def _write(self, result: FocusResult) -> None:
        path = self._output.temporary / f"{self._name(result)}{self._suffix}"
        if path.exists():
            raise SinkError(f"{self.path / path.name}: two pictures have this name")
        save_picture(path, self._render(result))


class ImageFileWriter(FileSink):
    """Writes ``render(result)`` of a single result.

    Args:
        path: the image; its suffix determines the format.
        render: returns the picture of a result, uint8 BGR.
        overwrite: replace an existing file, but never ``source``.
        source: the input.

    Raises:
        SettingsError: the suffix is unknown.
        SinkError: the file cannot be written, or a second result arrives.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, cv2.error)

    def __init__(
        self,
        path: AnyPath,
        *,
        render: Render,
        overwrite: bool = False,
        source: AnyPath | None = None,
    ) -> None:
        check_suffix(Path(path).suffix)
        self._render, self._written = render, False
        super().__init__(Output(path, overwrite=overwrite, source=source))

    def _write(self, result: FocusResult) -> None:
        if self._written:
            raise SinkError(f"{self.path}: holds one picture and got a second; name a folder or video")
        save_picture(self._output.temporary, self._render(result))
        self._written = True

    def _finish(self) -> None:
        if self._written:
            self._output.commit()
        else:
            self._output.discard()
