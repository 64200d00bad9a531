"""The record of an archive run, which outlives any number of kills."""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from br2focus.realtime.closing import Closing
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.output import refusal, sync

from .items import Item

Entry = dict[str, Any]
FIRST = b'{"event": "'  # what every line begins with


class Journal(Closing):
    """JSON lines with a checksum each, on the disk before `write` returns; one process at a time has it.

    What a kill tore off at the end is cut; a damaged line elsewhere is left out.

    Args:
        path: the file; made when missing.

    Attributes:
        entries: what was found in it.
        damaged: lines whose checksum is wrong.

    Raises:
        SettingsError: another process has it, or it is something else.
        SinkError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.damaged = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._explained():
            self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        try:
            with self._explained():
                self._lock()
                self._read()
                sync(path.parent)
        except BaseException:
            self._file.close()
            raise

    def write(self, entry: Entry) -> None:
        """Append one entry.

        Raises:
            SinkError: the disk refuses.
        """
        with self._explained():
            line = _line(entry)
            while line:  # a disk that is nearly full takes a part
                line = line[self._file.write(line) or 0 :]
            os.fsync(self._file)

    def close(self) -> None:
        """Let another run have it."""
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{self.path}: another run is at work there; wait for it") from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise refusal(self.path, error) from error

    def _read(self) -> None:
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            entry = _entry(line)
            if entry is None:
                self.damaged += 1
            else:
                self.entries.append(entry)
        begins = min(len(data), len(FIRST))
        if not self.entries and data[:begins] != FIRST[:begins]:
            raise SettingsError(f"{self.path}: not the journal of an archive; give another --out")
        self._file.truncate(len(whole))


@dataclass
class Past:
    """What earlier runs did.

    Attributes:
        options: what they were asked for, or None before the first.
        last: of every item that came to an end, the last entry.
        begun: every item whose outputs may lie there.
        unfinished: those that came to no end.
    """

    options: dict[str, Any] | None = None
    last: dict[str, Entry] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, entries: list[Entry]) -> Past:
        """From the entries of a journal."""
        past = cls()
        for entry in entries:
            name = entry.get("input", "")
            match entry["event"]:
                case "begin":
                    past.options = entry["options"]
                    if entry["anew"]:
                        past.last.clear()
                case "started":
                    past.begun.add(name)
                    past.unfinished.add(name)
                case "done" | "failed":
                    past.last[name] = entry
                    past.unfinished.discard(name)
        return past

    def of_item(self, item: Item, out: Path) -> Entry | None:
        """The end that ``item`` came to, if it is the same still and its outputs are in ``out``."""
        entry = self.last.get(item.name, {})
        if (entry.get("bytes", -1), entry.get("changed_ns")) != (item.size, item.changed):
            return None
        there = all(os.path.lexists(out / name) for name in entry.get("outputs", ()))
        return entry if there else None


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry)
    return json.dumps(entry | {"crc32": _sum(text)}).encode() + b"\n"


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
        expected = entry.pop("crc32")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return entry if _sum(json.dumps(entry)) == expected else None


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
