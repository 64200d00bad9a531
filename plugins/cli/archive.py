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

from br2focus.realtime.errors import SettingsError, SinkError

from .archive_items import Found, Item, Outputs, find
from .archive_journal import Entry, Journal, Past
from .archive_workers import Event, Task, Workers
from .exits import Exit, say
from .options import report_options
from .progress import Progress, StopSignals
from .request import Request, make_request, request_options

JOURNAL = "archive.jsonl"
CORES = 4  # that one process uses well: reading, maps, drawing and writing run beside one another
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
    help=f"Processes; default: one for every {CORES} cores.",
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
    with Journal(out / JOURNAL, anew=request.force) as journal, StopSignals() as signals:
        past, asked = Past.of(journal.entries), _asked(request, outputs)
        _require_the_same(past, asked, out)
        run = Run(journal, outputs, as_json)
        tasks = list(run.tasks(found, past, retry_failed))
        count = workers or max(1, len(os.sched_getaffinity(0)) // CORES)
        run.tell(
            {
                "event": "begin", "root": str(found.root), "files": len(found.items),
                "to_do": len(tasks), "workers": count, "options": asked,
                "version": version("br2focus"),
            }
        )  # fmt: skip
        crew = Workers(request, count=count, patience=stalled)
        with Progress("archive", unit="file") as progress:
            for event in crew.run(tasks, stop=lambda: signals.code is not None):
                run.note(event)
                progress(run.ended, len(tasks), run.note_of_frames)
    summary: dict[str, float] = {name: run.counts[name] for name in ("done", "failed", "skipped")}
    summary |= {"left": len(tasks) - run.ended, "seconds": round(time.monotonic() - begun, 3)}
    if as_json:
        click.echo(json.dumps(summary))
    counts = f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} done before"
    say(f"{counts}, {summary['left']} left; {out / JOURNAL} has the details")
    return signals.code or (Exit.ITEMS if summary["failed"] else Exit.DONE)


class Run:
    """What becomes of the items: counted, written to the journal, and told.

    Args:
        journal: of this run and those before it.
        outputs: what the items become.
        as_json: print every entry on stdout.

    Attributes:
        counts: items that are "done", "failed" (in this run or before), and "skipped", done before.
        ended: tasks that came to an end in this run.
        note_of_frames: how far the file is that was heard of last.
    """

    def __init__(self, journal: Journal, outputs: Outputs, as_json: bool) -> None:
        self._journal, self._outputs, self._as_json = journal, outputs, as_json
        self._items: dict[str, Item] = {}
        self.counts: Counter[str] = Counter()
        self.ended, self.note_of_frames = 0, ""

    def tasks(self, found: Found, past: Past, retry_failed: bool) -> Iterator[Task]:
        """What is to be done; the rest is counted."""
        for name, why in found.unread.items():
            self.counts["failed"] += 1
            self.tell({"event": "failed", "input": name, "error": why, "exit": int(Exit.INPUT)})
            say(why)
        if found.links:
            say(f"{found.links} links were left out (--follow)")
        if self._journal.damaged:
            say(f"{self._journal.damaged} lines of {self._journal.path} are damaged: left out")
        for item in found.items:
            self._items[item.name] = item
            before = past.of_item(item, self._outputs.out)
            if before is None or (before["event"] == "failed" and retry_failed):
                yield Task(item.name, self._outputs.job_of(item), item.name in past.begun)
            else:
                self.counts["skipped" if before["event"] == "done" else "failed"] += 1

    def note(self, event: Event) -> None:
        """Write and tell one event."""
        name, entry = event.task.name, dict(event.entry)
        if event.kind == "frames":
            expected = entry["expected"] or "?"
            self.note_of_frames = f"{Path(name).name} {entry['frames']}/{expected}"
            return
        item = self._items[name]
        if event.kind in ("done", "failed"):
            self.ended += 1
            self.counts[event.kind] += 1
            entry |= {"bytes": item.size, "changed_ns": item.changed}
        if event.kind == "done":
            entry["outputs"] = self._written(event.task, entry.pop("output"))
            entry.pop("stopped")
        if "error" in entry:
            say(entry["error"] if event.kind == "failed" else f"{name}: {entry['error']}; again")
        self.tell({"event": event.kind, **entry, "input": name})

    def tell(self, entry: Entry) -> None:
        """Write ``entry`` to the journal, and to stdout if asked."""
        self._journal.write(entry)
        if self._as_json:
            click.echo(json.dumps(entry))

    def _written(self, task: Task, drawn: str | None) -> list[str]:
        """Names below the output folder; that of the annotated file is known when it is written."""
        paths = [drawn, task.job.maps, task.job.metrics]
        return [os.path.relpath(path, self._outputs.out) for path in paths if path is not None]


def _found(source: Path, out: Path, follow: bool) -> Found:
    if source.is_dir() and out.is_dir() and source.samefile(out):
        raise SettingsError(f"{out}: is the folder of the inputs; give another one with --out")
    found = find(source, out, follow=follow)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{out}: cannot be made a folder ({error.strerror})") from error
    return found


def _asked(request: Request, outputs: Outputs) -> dict[str, Any]:
    """The options that decide what comes out, as JSON has them."""
    options = asdict(request)
    engine = {name: options["engine"][name] for name in ("model", "size")}
    made = {name: getattr(outputs, name) for name in ("draw", "maps", "metrics")}
    asked: dict[str, Any] = json.loads(
        json.dumps({name: options[name] for name in THE_SAME} | engine | made)
    )
    return asked


def _require_the_same(past: Past, asked: dict[str, Any], out: Path) -> None:
    if past.options is None or past.options == asked:
        return
    name = next(n for n in asked if past.options.get(n) != asked[n])
    before, now = past.options.get(name), asked[name]
    raise SettingsError(
        f"{out}: was begun with another {name} ({before}, now {now}): "
        "give the same one, another --out, or --force"
    )
