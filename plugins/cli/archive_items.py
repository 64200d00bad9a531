"""What an archive run works on: every image and video of a folder or a list, and the names of its outputs."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from br2focus.realtime.errors import SettingsError, SourceError
from br2focus.realtime.image_files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, media_kind

from .jobs import MARK, OURS, SUFFIX_OF_CODEC, Job

MAX_MANIFEST = 1 << 28  # bytes
# Of a name, so that what is put behind it (_annotated.partial.webm) still fits into the 255 of a file system.
MAX_NAME = 200  # bytes


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        name: its path below the root, which the journal knows it by.
        path: where it is.
        size, changed: bytes, and nanoseconds of the last change; None where it cannot be looked at.
    """

    name: str
    path: Path
    size: int | None = None
    changed: int | None = None


@dataclass
class Found:
    """What is below a root.

    Attributes:
        root: what the names of the items are below.
        items: images and videos, in order.
        unread: folders that cannot be read, by name, and why.
        links: links that were not followed.
    """

    root: Path
    items: list[Item] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    links: int = 0


def find(given: Path, out: Path, *, follow: bool) -> Found:
    """The items of a folder, or of a list of files (one path a line, relative to the list).

    Hidden files, what `annotate` wrote, and all of ``out`` are left out. Links are left out too unless
    ``follow``; then every folder is read once, whatever leads to it.

    Raises:
        SourceError: ``given`` is missing, unreadable, or has no image and no video in it.
    """
    found = _walk(given, out, follow) if given.is_dir() else _listed(given)
    if not found.items and not found.unread:
        raise SourceError(f"{given}: no image and no video found")
    return found


@dataclass(frozen=True)
class Outputs:
    """What every item becomes.

    Attributes:
        out: folder of everything.
        draw: whether an annotated file is asked for.
        maps, metrics: suffixes of these, or None.
        codec: of annotated videos.
    """

    out: Path
    draw: bool
    maps: str | None
    metrics: str | None
    codec: str

    def job_of(self, item: Item) -> Job:
        """The outputs of ``item``: its folders kept, its whole name before what is added to it.

        So two inputs never share an output, and one that is added later changes no other's name. A name
        that is too long is cut, and ends with a hash of it.
        """
        name = Path(item.name)
        stem = self.out / name.parent / shortened(name.name)
        image = media_kind(item.path) == "image"
        suffix = ".png" if image else SUFFIX_OF_CODEC.get(self.codec, "")
        return Job(
            source=item.path,
            output=stem.with_name(f"{stem.name}{MARK}{suffix}") if self.draw else None,
            maps=stem.with_name(f"{stem.name}_maps{self.maps}") if self.maps else None,
            metrics=stem.with_name(f"{stem.name}_metrics{self.metrics}") if self.metrics else None,
            suffix_open=self.draw and suffix == "",
            in_folder=True,
        )


def shortened(name: str) -> str:
    """``name``, or its beginning and a hash where it is longer than `MAX_NAME` bytes."""
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
        if (here := _identity(Path(folder))) in visited:
            folders.clear()
            continue
        visited.add(here)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        if not follow:
            found.links += sum(Path(folder, name).is_symlink() for name in folders)
        for name in sorted(filter(_is_media, files)):
            path = Path(folder, name)
            if path.is_symlink() and not follow:
                found.links += 1
            else:
                found.items.append(_item(path, os.path.relpath(path, root)))
    return found


def _listed(manifest: Path) -> Found:
    """Files of a list, named below the folder that holds all of them."""
    here = manifest.parent.absolute()
    paths = [Path(os.path.normpath(here / line)) for line in _lines(manifest)]
    if not paths:
        return Found(manifest.parent)
    root = Path(os.path.commonpath([path.parent for path in paths]))
    unique = dict.fromkeys(paths)
    return Found(root, [_item(path, os.path.relpath(path, root)) for path in unique])


def _lines(manifest: Path) -> Iterator[str]:
    try:
        if not manifest.is_file():
            raise SourceError(f"{manifest}: no such folder, and no list of files")
        if manifest.stat().st_size > MAX_MANIFEST:
            raise SettingsError(f"{manifest}: over {MAX_MANIFEST} bytes, not a list of files")
        data = manifest.read_bytes()
    except (SourceError, SettingsError):
        raise
    except OSError as error:
        raise SourceError(f"{manifest}: cannot be read ({error.strerror})") from error
    if b"\0" in data:
        raise SettingsError(f"{manifest}: not a list of files (one path a line)")
    for line in data.splitlines():
        if line.strip():
            yield os.fsdecode(line)


def _is_media(name: str) -> bool:
    known = name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    return known and name[0] != "." and not Path(name).stem.endswith(OURS)


def _item(path: Path, name: str) -> Item:
    try:
        status = path.stat()
    except OSError:
        return Item(name, path)
    if not stat.S_ISREG(status.st_mode):
        return Item(name, path)
    return Item(name, path, status.st_size, status.st_mtime_ns)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
