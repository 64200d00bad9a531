"""``br2focus archive``: thousands of files, some of them broken, in a run that a kill only interrupts."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from br2focus.models import checkpoint
from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.output import make_folder

from .archive_items import JOURNAL, Found, Item, Outputs, find
from .archive_journal import Entry, Journal, Past
from .archive_workers import Event, Task, Workers
from .exits import Exit, line_of, report_options, say
from .progress import Progress, StopSignals
from .request import Request, make_request, request_options

MOST = 8  # processes where nobody says how many: each takes up to half a gigabyte
# Their decoders are those that many have looked for holes in: files of an archive come from anywhere.
SAFE_CODECS = (
    *("av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"),
    *("prores", "theora", "vp8", "vp9"),
)
# What a run that goes on must have been asked for as well. Where it computes may change.
THE_SAME = ("overlay", "style", "rois", "smoothing", "refine", "codec", "crf", "strict")


@click.command(
    "archive", epilog="Example: br2focus archive footage/ --out annotated/ --metrics csv"
)
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR|MANIFEST")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help=f"Folder for the results, in the sub-folders of the inputs, and for {JOURNAL}.",
)  # fmt: skip
@click.option(
    "--maps", type=click.Choice(["npz", "mkv"]), help="Write the blur maps beside each result."
)
@click.option(
    "--metrics", type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Write figures per frame beside each result.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N",
    help=f"Processes; default: one for each core, {MOST} at most.",
)  # fmt: skip
@click.option(
    "--stalled", type=click.FloatRange(1), default=300.0, show_default=True, metavar="SECONDS",
    help="Without a new frame, until a file's process is ended and begun again.",
)  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")
@click.option(
    "--allow-codec", "allowed", multiple=True, metavar="NAME",
    help="A video codec beside the usual ones, such as dvvideo; repeatable.",
)  # fmt: skip
@click.option("--follow", is_flag=True, help="Follow links to files and folders.")
@click.option("--force", is_flag=True, help="Do everything anew and replace what is there.")
@request_options
@report_options
def command(
    source: Path, out: Path, maps: str | None, metrics: str | None, workers: int | None,
    stalled: float, allowed: tuple[str, ...], retry_failed: bool, follow: bool,
    as_json: bool, debug: bool, **options: Any,
) -> int:  # fmt: skip
    """Annotate a folder of videos and images, or those that a file lists, one path a line.

    Give the same command again after a stop, a crash or a power cut: what is done is not done again. A
    file that cannot be read is reported and the next one begins; one that kills its process three times
    is given up.
    """
    begun = time.monotonic()
    request = make_request(**options, codecs=SAFE_CODECS + allowed)
    maps, metrics = (kind and f".{kind}" for kind in (maps, metrics))
    draw = request.overlay != "none" or not (maps or metrics)
    outputs = Outputs(out, draw, maps, metrics, request.codec)
    found = _found(source, out, follow)
    asked = _asked(request, outputs, found)
    with Journal(out / JOURNAL) as journal, StopSignals() as signals:
        past = Past.of(journal.entries)
        if request.force:
            past.last.clear()
        else:
            _require_the_same(past, asked, out)
        run = Run(journal, outputs, as_json)
        count = workers or min(len(os.sched_getaffinity(0)), MOST)
        run.begin(found, asked, count, anew=request.force)
        todo = run.to_do(found, past, retry_failed)
        crew = Workers(request, count=count, patience=stalled)
        try:
            with Progress("archive", unit="file") as progress:
                tasks = run.tasks(todo, past.begun, replace=request.force)
                for event in crew.run(tasks, stop=lambda: signals.code is not None):
                    run.note(event)
                    progress(run.ended, len(todo), run.note_of_frames)
        finally:
            run.sum_up(len(todo), time.monotonic() - begun)
    return signals.code or (Exit.ITEMS if run.counts["failed"] else Exit.DONE)


class Run:
    """What becomes of the items: counted, written to the journal, and told.

    Args:
        journal: of this run and those before it.
        outputs: what the items become.
        as_json: print every entry on stdout.

    Attributes:
        counts: items that are "done", "failed" (in this run or before), and "skipped", done before.
        ended: items that came to an end in this run.
        note_of_frames: how far the file is that was heard of last.
    """

    def __init__(self, journal: Journal, outputs: Outputs, as_json: bool) -> None:
        self._journal, self._outputs, self._as_json = journal, outputs, as_json
        self._items: dict[str, Item] = {}
        self.counts: Counter[str] = Counter()
        self.ended, self.note_of_frames = 0, ""

    def begin(self, found: Found, asked: dict[str, Any], workers: int, *, anew: bool) -> None:
        """Say what was found; what cannot be read failed already."""
        self.tell(
            {
                "event": "begin", "files": len(found.items), "workers": workers, "anew": anew,
                "version": version("br2focus"), "options": asked,
            }
        )  # fmt: skip
        if self._journal.damaged:
            say(f"{self._journal.damaged} lines of {self._journal.path} are damaged: left out")
        if found.links:
            say(f"{found.links} links were left out (--follow)")
        if found.ours:
            say(f"{found.ours} files that annotate wrote were left out")
        for name, why in found.unread.items():
            self._fail(name, why, Exit.INPUT)

    def to_do(self, found: Found, past: Past, retry_failed: bool) -> list[Item]:
        """Items that are not done yet, last those during which a run was killed; the others are counted."""
        todo = []
        for item in found.items:
            before = past.of_item(item, self._outputs.out)
            if before is None or (before["event"] == "failed" and retry_failed):
                todo.append(item)
            else:
                self.counts["skipped" if before["event"] == "done" else "failed"] += 1
        return sorted(todo, key=lambda item: item.name in past.unfinished)

    def tasks(self, todo: list[Item], begun: set[str], *, replace: bool) -> Iterator[Task]:
        """A task for each item; one whose outputs cannot be written fails at once."""
        for item in todo:
            self._items[item.name] = item
            ours = replace or item.name in begun
            try:
                yield Task(item.name, self._outputs.job_of(item, replace=ours), ours)
            except SinkError as error:
                self.ended += 1
                self._fail(item.name, line_of(error), Exit.OUTPUT)

    def note(self, event: Event) -> None:
        """Write and tell one event."""
        name, entry = event.task.name, dict(event.entry)
        if event.kind == "frames":
            expected = entry["expected"] or "?"
            self.note_of_frames = f"{Path(name).name} {entry['frames']}/{expected}"
            return
        self.ended += event.kind in ("done", "failed")
        if event.kind == "failed":
            self._fail(name, entry["error"], entry["exit"])
            return
        if event.kind == "died":
            say(f"{name}: {entry['error']}; once more")
        elif event.kind == "done":
            self.counts["done"] += 1
            entry |= self._identity(name)
            entry["outputs"] = self._written(event.task, entry.pop("output"))
            del entry["stopped"]
        self.tell({"event": event.kind, **entry, "input": name})

    def sum_up(self, todo: int, seconds: float) -> None:
        """The last line."""
        summary: dict[str, float] = {
            name: self.counts[name] for name in ("done", "failed", "skipped")
        }
        summary |= {"left": todo - self.ended, "seconds": round(seconds, 3)}
        if self._as_json:
            click.echo(json.dumps(summary))
        say(
            f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} done before, "
            f"{summary['left']} left; {self._journal.path} has the details"
        )

    def tell(self, entry: Entry) -> None:
        """Write ``entry`` to the journal, and to stdout if asked."""
        self._journal.write(entry)
        if self._as_json:
            click.echo(json.dumps(entry))

    def _fail(self, name: str, why: str, code: int) -> None:
        self.counts["failed"] += 1
        say(why)
        entry = {"event": "failed", "error": why, "exit": int(code), **self._identity(name)}
        self.tell(entry | {"input": name})

    def _identity(self, name: str) -> dict[str, int | None]:
        """By which a later run sees whether the input is the same still; a folder has none."""
        item = self._items.get(name)
        return {"bytes": item.size, "changed_ns": item.changed} if item else {}

    def _written(self, task: Task, drawn: str | None) -> list[str]:
        """Names below the output folder; that of the annotated file is known when it is written."""
        paths = [drawn, task.job.maps, task.job.metrics]
        return [os.path.relpath(path, self._outputs.out) for path in paths if path is not None]


def _found(source: Path, out: Path, follow: bool) -> Found:
    if source.is_dir() and out.is_dir() and source.samefile(out):
        raise SettingsError(f"{out}: is the folder of the inputs; give another one with --out")
    found = find(source, out, follow=follow)
    make_folder(out)
    return found


def _asked(request: Request, outputs: Outputs, found: Found) -> dict[str, Any]:
    """The options that decide what comes out, as JSON has them, and the inputs' root.

    Raises:
        CheckpointError: there is no such model.
    """
    options = asdict(request)
    _, sha256 = checkpoint.find(request.engine.model)
    asked = {name: options[name] for name in THE_SAME}
    asked |= {name: getattr(outputs, name) for name in ("draw", "maps", "metrics")}
    asked |= {"size": request.engine.size, "model": {request.engine.model: sha256}}
    asked["root"] = os.path.realpath(found.root)
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def _require_the_same(past: Past, asked: dict[str, Any], out: Path) -> None:
    for name, before in (past.options or asked).items():
        now = asked.get(name, before)  # an option of another version says nothing
        if now != before:
            raise SettingsError(
                f"{out}: was begun with another {name} ({before}, now {now}): "
                "give the same one, another --out, or --force"
            )
