"""The journal of an archive run, which survives any number of kills."""

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
FIRST = b'{"event": "'  # start of every line


class Journal(Closing):
    """JSON lines, each with a checksum and on the disk before `write` returns; one process may hold the file.

    A line that a kill cut off at the end is removed. A damaged line elsewhere is ignored.

    Args:
        path: the file; created if missing.

    Attributes:
        entries: the entries found in the file.
        damaged: number of damaged lines.

    Raises:
        SettingsError: another process holds it, or the file is not a journal.
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
            SinkError: it cannot be written.
        """
        with self._explained():
            line = _line(entry)
            while line:  # a nearly full disk may take only a part
                line = line[self._file.write(line) or 0 :]
            os.fsync(self._file)

    def close(self) -> None:
        """Release the journal for another run."""
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
        options: their options; None before the first run.
        last: name of each finished item -> its last entry.
        begun: items whose outputs may exist.
        unfinished: items that were started and not finished.
    """

    options: dict[str, Any] | None = None
    last: dict[str, Entry] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, entries: list[Entry]) -> Past:
        """Build from the entries of a journal."""
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
        """Return the last entry of ``item``, or None if it has changed or an output is missing in ``out``."""
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
