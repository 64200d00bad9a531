"""The items of an archive run: all images and videos of a folder or a list, and their outputs' names."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from br2focus.plugins.cli.jobs import MARK, OURS, Job, suffix_of
from br2focus.realtime.errors import SettingsError, SinkError, SourceError
from br2focus.realtime.sources.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES

JOURNAL = "archive.jsonl"  # in the folder of the results; identifies it as one
MAX_MANIFEST = 1 << 28  # bytes
# Leaves room for what is appended to a name (_annotated.partial.webm) within a file system's 255 bytes.
MAX_NAME = 200  # bytes


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        name: its path relative to the root; its name in the journal.
        path: its location.
        size, changed: size in bytes and time of the last change in nanoseconds; None if they cannot be read.
    """

    name: str
    path: Path
    size: int | None = None
    changed: int | None = None


@dataclass
class Found:
    """What was found below a root.

    Attributes:
        root: the folder that the names of the items are relative to.
        items: images and videos, in order.
        unread: name of each folder that cannot be read -> why.
        links, ours: number of links not followed, and of files that an earlier `annotate` wrote.
    """

    root: Path
    items: list[Item] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    links: int = 0
    ours: int = 0


def find(given: Path, out: Path, *, follow: bool) -> Found:
    """Find the items of a folder, or of a list of files (one path per line, relative to the list).

    Skips hidden files, files that `annotate` wrote, and the output folders of other runs. Links are skipped
    too unless ``follow`` is set; then every folder is read once, however many links lead to it.

    Raises:
        SourceError: ``given`` is missing, unreadable, or contains no image or video.
    """
    try:
        found = _walk(given, out, follow) if given.is_dir() else _listed(given)
    except PermissionError as error:
        raise SourceError(f"{given}: cannot be read ({error.strerror})") from error
    if not found.items:
        nothing = f"{given}: no image and no video found"
        raise SourceError(next(iter(found.unread.values()), nothing))
    return found


@dataclass(frozen=True)
class Outputs:
    """The outputs of every item.

    Attributes:
        out: folder of all outputs.
        draw: whether an annotated file is written.
        maps, metrics: suffixes of these files, or None.
        codec: of annotated videos.
    """

    out: Path
    draw: bool
    maps: str | None
    metrics: str | None
    codec: str

    def job_of(self, item: Item, *, replace: bool) -> Job:
        """Return the job of ``item``, whose outputs keep its sub-folders and begin with its whole name.

        So two inputs never share an output, and adding an input never renames another output. A name that is
        too long is cut, and ends with a hash of it.

        Args:
            item: the input.
            replace: whether existing files may be overwritten.

        Raises:
            SinkError: an output exists and may not be overwritten, or a link leads out of `out`.
        """
        name = Path(item.name)
        stem = self.out / name.parent / shortened(name.name)
        if not Path(os.path.realpath(stem.parent)).is_relative_to(os.path.realpath(self.out)):
            raise SinkError(f"{stem.parent}: a link that leads out of {self.out}")
        suffix = suffix_of(item.path, self.codec)
        job = Job(
            source=item.path,
            output=stem.with_name(f"{stem.name}{MARK}{suffix}") if self.draw else None,
            maps=stem.with_name(f"{stem.name}_maps{self.maps}") if self.maps else None,
            metrics=stem.with_name(f"{stem.name}_metrics{self.metrics}") if self.metrics else None,
            suffix_open=self.draw and suffix == "",
            in_folder=True,
        )
        for path in () if replace else job.names():
            if os.path.lexists(path):
                raise SinkError(f"{path}: exists, and no earlier run made it (--force replaces it)")
        return job


def shortened(name: str) -> str:
    """Return ``name``, or if it is longer than `MAX_NAME` bytes, its beginning and a hash."""
    raw = os.fsencode(name)
    if len(raw) <= MAX_NAME:
        return name
    mark = "~" + hashlib.sha256(raw).hexdigest()[:12]
    return raw[: MAX_NAME - len(mark)].decode(errors="ignore") + mark


def _walk(root: Path, out: Path, follow: bool) -> Found:
    found = Found(root)

    def fail(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        found.unread[name] = f"{error.filename}: cannot be read ({error.strerror})"

    visited = {_identity(out)}
    for folder, folders, files in os.walk(root, onerror=fail, followlinks=follow):
        if (here := _identity(Path(folder))) in visited or (JOURNAL in files and folder != str(root)):
            folders.clear()
            continue
        visited.add(here)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        if not follow:
            found.links += sum(_is_link(Path(folder, name)) for name in folders)
        for name in sorted(filter(_is_media, files)):
            path = Path(folder, name)
            if not follow and _is_link(path):
                found.links += 1
            elif path.stem.endswith(OURS):
                found.ours += 1
            else:
                found.items.append(_item(path, os.path.relpath(path, root)))
    return found


def _listed(manifest: Path) -> Found:
    """Return the files of a list, named as listed if they are below its folder, else by their whole path.

    A name depends on no other line, so it stays the same while the list grows.
    """
    here = manifest.parent.absolute()
    items: dict[str, Item] = {}
    for number, line in enumerate(_lines(manifest), 1):
        if not line.strip():
            continue
        name = os.path.normpath(line)
        path = here / name
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
            raise SettingsError(
                f"{manifest}: line {number}: {line} is a folder; list its files, or give it as the input"
            )
        if Path(name).parts[0] in ("/", ".."):
            path = Path(os.path.normpath(path))
            name = str(path.relative_to(path.anchor))
        if items.setdefault(name, _item(path, name)).path != path:
            raise SettingsError(f"{manifest}: two files would be called {name}: give whole paths")
    return Found(here, list(items.values()))


def _lines(manifest: Path) -> list[str]:
    if not manifest.is_file():
        raise SourceError(f"{manifest}: no such folder, and no list of files")
    try:
        if manifest.stat().st_size > MAX_MANIFEST:
            raise SettingsError(f"{manifest}: over {MAX_MANIFEST} bytes, not a list of files")
        data = manifest.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise SourceError(f"{manifest}: cannot be read ({error.strerror})") from error
    if b"\0" in data:
        raise SettingsError(f"{manifest}: not a list of files (one path a line)")
    return [os.fsdecode(line) for line in data.splitlines()]


def _is_media(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES) and name[0] != "."


def _item(path: Path, name: str) -> Item:
    try:
        status = path.stat()
    except OSError:
        return Item(name, path)
    if not stat.S_ISREG(status.st_mode):
        return Item(name, path)
    return Item(name, path, status.st_size, status.st_mtime_ns)


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # its folder may be listed but not searched
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
