"""An output file or folder that appears under its final name only once it is complete."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from br2focus.models.errors import FocusError
from br2focus.models.paths import AnyPath

from .errors import SinkError

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file grew over the size limit of this shell or file system (ulimit -f)",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "the folder is read-only; choose another one",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ENOTDIR: "its folder is a file; choose another folder",
    errno.ELOOP: "its temporary name is a symbolic link; remove that link",
}


def refusal(path: Path, error: Exception) -> SinkError:
    """Convert an error from writing ``path`` to a one-line `SinkError`: where, what, what to do."""
    remedy = REMEDIES.get(getattr(error, "errno", None) or 0)
    return SinkError(f"{path}: {remedy or str(error).strip() or type(error).__name__}")


def make_folder(path: Path) -> None:
    """Create ``path`` and any missing parent folders.

    Raises:
        SinkError: the folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if error.errno == errno.EEXIST else error.strerror
        raise SinkError(f"{path}: cannot be made a folder ({reason})") from error


def temporary_name(path: Path, *, folder: bool = False) -> Path:
    """Return the name of a file or folder while it is incomplete."""
    return path.with_name(f"{path.name}.partial" if folder else f"{path.stem}.partial{path.suffix}")


class Output:
    """Reserves ``path``; data goes to `temporary` in the same folder until `commit`.

    A temporary file or folder left by a killed run is reused. One that another run is still writing is
    refused.

    Args:
        path: the final name; a file's temporary name keeps its suffix.
        folder: write a folder of files instead of a single file.
        overwrite: replace an existing file; in an existing folder, replace files with the same names.
        source: the input; it is never overwritten, whatever name it goes by.

    Raises:
        SinkError: ``path`` exists, is the source, is of the wrong kind (file or folder), or cannot be
            written.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        folder: bool = False,
        overwrite: bool = False,
        source: AnyPath | None = None,
    ) -> None:
        self.path = path = Path(path)
        self._folder, self._overwrite = folder, overwrite
        self._lock: int | None = None
        with self._raising_sink_errors():
            if not path.name or path.name == "..":
                raise SinkError(f"{path}: not a name to write to")
            self.temporary = temporary_name(path, folder=folder)
            self._refuse_source(None if source is None else Path(source))
            self._refuse_existing()
            self._lock = self._reserve()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit the output, or discard it after an error.

        An `OSError` from the block is converted to a `SinkError`.
        """
        if error is None:
            try:
                self.commit()
            except BaseException:
                self.discard()
                raise
            return
        self.discard()
        if isinstance(error, OSError) and not isinstance(error, FocusError):
            raise refusal(self.path, error) from error

    def commit(self) -> None:
        """Flush the output to disk and give it its final name.

        Raises:
            SinkError: writing fails, or the name has been taken in the meantime.
        """
        with self._raising_sink_errors():
            self._refuse_existing()
            written = self._contents() if self._folder else [self.temporary]
            for path in written:
                sync(path)
            if self._folder and self.path.is_dir() and any(self.path.iterdir()):
                for path in written:
                    path.replace(self.path / path.name)
                self.temporary.rmdir()
            else:
                self.temporary.replace(self.path)
            sync(self.path.parent)
        self.release()

    def discard(self) -> None:
        """Remove everything written so far; never raises."""
        if self._lock is None:
            return
        with suppress(OSError):
            if self._folder:
                self._clear()
                self.temporary.rmdir()
            else:
                self.temporary.unlink()
        self.release()

    def release(self) -> None:
        """Release the temporary name to other runs; the data written so far stays in place."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _refuse_source(self, source: Path | None) -> None:
        for path in (self.path, self.temporary):
            if source is not None and path.exists() and source.exists() and path.samefile(source):
                raise SinkError(f"{self.path}: that is the input; choose another name")

    def _refuse_existing(self) -> None:
        path = self.path
        if not os.path.lexists(path):
            return
        if path.is_dir() != self._folder:
            raise SinkError(f"{path}: is a {'file' if self._folder else 'folder'}; choose another name")
        if not self._overwrite and not (self._folder and not any(path.iterdir())):
            raise SinkError(f"{path}: exists; choose another name or allow overwriting (--force)")

    def _reserve(self) -> int:
        """Create the empty temporary file or folder and return a descriptor that holds its lock."""
        if self._folder:
            self.temporary.mkdir(exist_ok=True)
        kind = os.O_DIRECTORY if self._folder else os.O_RDWR | os.O_CREAT
        lock = os.open(self.temporary, kind | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_ino != self.temporary.stat().st_ino:  # another run committed it meanwhile
                raise BlockingIOError
            self._clear() if self._folder else os.ftruncate(lock, 0)
        except BlockingIOError:
            os.close(lock)
            raise SinkError(f"{self.path}: another run is writing it; wait for it to end") from None
        except OSError:
            os.close(lock)
            raise
        return lock

    def _contents(self) -> list[Path]:
        return sorted(self.temporary.iterdir())

    def _clear(self) -> None:
        for path in self._contents():
            path.unlink()

    @contextmanager
    def _raising_sink_errors(self) -> Iterator[None]:
        try:
            yield
        except FocusError:
            raise
        except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
            raise refusal(self.path, error) from error


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk.

    Raises:
        OSError: flushing fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
