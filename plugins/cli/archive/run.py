"""Tracks the items of an archive run: counts, journal, messages, and the table at the end."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from br2focus.plugins.cli.exits import Exit, line_of, say
from br2focus.realtime.errors import SinkError, SourceError
from br2focus.realtime.output import Output

from .items import Found, Item, Outputs
from .journal import Entry, Journal, Past
from .worker import Event, Task

TABLE = "archive.csv"
COLUMNS = (
    "input",
    "status",
    "error",
    "frames",
    "in_focus_share",
    "sharpness",
    "sharpest_sharpness",
    "sharpest_second",
    "reference_px",
    "damaged",
    "notices",
    "outputs",
)


class ArchiveRun:
    """One run over the items that were found.

    Args:
        journal: of this run and the earlier ones.
        found: the items.
        outputs: the outputs of each item.
        as_json: print every entry to stdout.

    Attributes:
        counts: number of items that are "done", "failed" (in this run or an earlier one), and "skipped"
            (done in an earlier run).
        ended: number of items that finished in this run.
        note_of_frames: progress within the file that reported last.
    """

    def __init__(self, journal: Journal, found: Found, outputs: Outputs, as_json: bool) -> None:
        self._journal, self._outputs, self._as_json = journal, outputs, as_json
        self._items = {item.name: item for item in found.items}
        self._last: dict[str, Entry] = {}
        self.counts: Counter[str] = Counter()
        self.ended, self.note_of_frames = 0, ""

    def begin(self, found: Found, options: dict[str, Any], workers: int, *, anew: bool) -> None:
        """Record and report what was found; folders that cannot be read have failed already."""
        self._tell(
            {
                "event": "begin",
                "files": len(found.items),
                "workers": workers,
                "anew": anew,
                "version": version("br2focus"),
                "options": options,
            }
        )
        if self._journal.damaged:
            say(f"{self._journal.damaged} lines of {self._journal.path} are damaged: left out")
        if found.links:
            say(f"{found.links} links were left out (--follow)")
        if found.ours:
            say(f"{found.ours} files that annotate wrote were left out")
        for name, why in found.unread.items():
            self._fail(name, why, Exit.INPUT)

    def to_do(self, past: Past, retry_failed: bool) -> list[Item]:
        """Return the items still to do, those that a kill interrupted last; count the others."""
        todo = []
        for item in self._items.values():
            before = past.of_item(item, self._outputs.out)
            if before is None or (before["event"] == "failed" and retry_failed):
                todo.append(item)
            else:
                self._last[item.name] = before
                self.counts["skipped" if before["event"] == "done" else "failed"] += 1
        return sorted(todo, key=lambda item: item.name in past.unfinished)

    def tasks(self, todo: list[Item], begun: set[str], *, replace: bool) -> Iterator[Task]:
        """Yield a task for each item; an item whose outputs cannot be written fails at once."""
        for item in todo:
            replaceable = replace or item.name in begun
            try:
                job = self._outputs.job_of(item, replace=replaceable)
            except SinkError as error:
                self._fail(item.name, line_of(error), Exit.OUTPUT)
            else:
                yield Task(item.name, job, replaceable)

    def note(self, event: Event) -> None:
        """Record and report one event.

        Raises:
            SourceError: the item failed because its whole folder is gone.
        """
        name, entry = event.task.name, dict(event.entry)
        match event.kind:
            case "frames":
                expected = entry["expected"] or "?"
                self.note_of_frames = f"{Path(name).name} {entry['frames']}/{expected}"
            case "started":
                self._tell({"event": "started", "input": name})
            case "died":
                say(f"{name}: {entry['error']}; once more")
                self._tell({"event": "died", "input": name, "error": entry["error"]})
            case "failed":
                if entry["exit"] == Exit.INPUT:
                    self._require_its_folder(name)
                self._fail(name, entry["error"], entry["exit"])
            case "done":
                if entry["damaged"]:
                    self._require_its_folder(name)
                    say(f"{name}: {entry['damaged']} frames damaged or missing")
                del entry["stopped"]
                entry["outputs"] = self._written(event.task, entry.pop("output"))
                self._end({"event": "done", **entry, "input": name})

    def sum_up(self, todo: int, seconds: float) -> None:
        """Print the summary and write the table.

        Raises:
            SinkError: the table cannot be written.
        """
        summary: dict[str, float] = {name: self.counts[name] for name in ("done", "failed", "skipped")}
        summary |= {"left": todo - self.ended, "seconds": round(seconds, 3)}
        if self._as_json:
            click.echo(json.dumps(summary))
        say(
            f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} done before, "
            f"{summary['left']} left; {self._outputs.out / TABLE} has a row for each"
        )
        self._write_table(self._outputs.out / TABLE)

    def _write_table(self, path: Path) -> None:
        with (
            Output(path, overwrite=True) as output,
            output.temporary.open("w", newline="", errors="surrogateescape") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
            writer.writeheader()
            for name in self._items:
                entry = self._last.get(name, {"event": "left"})
                lists = {key: "; ".join(entry.get(key, ())) for key in ("notices", "outputs")}
                writer.writerow(entry | lists | {"input": name, "status": entry["event"]})

    def _fail(self, name: str, why: str, code: int) -> None:
        item = self._items.get(name)
        named = item is None or str(item.path) in why or name in why
        say(why if named else f"{name}: {why}")
        self._end({"event": "failed", "error": why, "exit": int(code), "input": name})

    def _end(self, entry: Entry) -> None:
        """Record the end of an item; for a folder that cannot be read, nothing else is known."""
        self.counts[entry["event"]] += 1
        if (item := self._items.get(entry["input"])) is not None:
            self.ended += 1
            self._last[item.name] = entry
            entry |= {"bytes": item.size, "changed_ns": item.changed}
        self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        """Write ``entry`` to the journal, and to stdout with ``as_json``."""
        self._journal.write(entry)
        if self._as_json:
            click.echo(json.dumps(entry))

    def _require_its_folder(self, name: str) -> None:
        """Raise if the item's folder is gone: a file on a disk unplugged meanwhile is not broken."""
        item = self._items[name]
        folder = item.path.parent
        if item.size is None:  # it was not there to begin with
            return
        try:
            there = bool(list(folder.iterdir()))
        except OSError:
            there = False
        if not there:
            raise SourceError(
                f"{folder}: is gone with all that was in it, which counts as not done; "
                "bring it back and give the same command"
            )

    def _written(self, task: Task, drawn: str | None) -> list[str]:
        """Return the outputs' names relative to the output folder; ``drawn`` is only known once written."""
        paths = [drawn, task.job.maps, task.job.metrics]
        return [os.path.relpath(path, self._outputs.out) for path in paths if path is not None]
