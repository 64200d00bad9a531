"""``br2focus archive``: thousands of files, some of them broken, in a run that a kill only interrupts."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from br2focus.models import checkpoint
from br2focus.plugins.cli.exits import Exit, report_options
from br2focus.plugins.cli.progress import Progress, StopSignals
from br2focus.plugins.cli.request import Request, check_every, make_request, request_options
from br2focus.realtime.device import cores
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.output import make_folder

from .items import JOURNAL, Found, Outputs, find
from .journal import Journal, Past
from .run import ArchiveRun
from .workers import Workers

MAX_WORKERS = 8  # processes where nobody says how many: each takes up to half a gigabyte
# Their decoders are those that many have looked for holes in: files of an archive come from anywhere.
SAFE_CODECS = (
    *("av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"),
    *("prores", "theora", "vp8", "vp9"),
)
# What a run that goes on must have been asked for as well; where it computes may change. And their words.
COMPARED = (
    "overlay",
    "style",
    "rois",
    "smoothing",
    "refine",
    "codec",
    "crf",
    "strict",
    "every",
    "size",
    "precision",
    "coc",
)
WORDS = {"draw": "overlay", "rois": "--roi", "root": "folder of inputs"}


@click.command("archive", epilog="Example: br2focus archive footage/ --out annotated/ --metrics csv")
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR|MANIFEST")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Folder for the results, in the sub-folders of the inputs, and for {JOURNAL}.",
)
@click.option("--maps", type=click.Choice(["npz", "mkv"]), help="Write the blur maps beside each result.")
@click.option(
    "--metrics",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Write figures per frame beside each result.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help=f"Processes; default: one for each core, {MAX_WORKERS} at most.",
)
@click.option(
    "--stalled",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="A file that gives no frame for so long is begun again, three times in all.",
)
@click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")
@click.option(
    "--allow-codec",
    "allowed",
    multiple=True,
    metavar="NAME",
    help=f"Decode this video codec too, such as dvvideo; repeatable. Always: {', '.join(SAFE_CODECS)}.",
)
@click.option("--follow", is_flag=True, help="Follow links to files and folders.")
@click.option("--moved", is_flag=True, help="The inputs are the same files in another place now.")
@click.option("--force", is_flag=True, help="Do everything anew and replace what is there.")
@request_options
@report_options
def command(
    source: Path,
    out: Path,
    maps: str | None,
    metrics: str | None,
    workers: int | None,
    stalled: float,
    allowed: tuple[str, ...],
    retry_failed: bool,
    follow: bool,
    moved: bool,
    as_json: bool,
    debug: bool,
    **options: Any,
) -> int:
    """Annotate a folder of videos and images, or those that a file lists, one path a line.

    Give the same command again after a stop, a crash or a power cut: what is done is not done again. A
    file that cannot be read is reported and the next one begins; one that kills its process three times
    is given up. With --overlay none there are figures alone: archive.csv has a row for each file.
    """
    begun = time.monotonic()
    request = make_request(**options, codecs=SAFE_CODECS + allowed)
    draw = request.overlay != "none"
    check_every(request, draw=draw)
    maps, metrics = (kind and f".{kind}" for kind in (maps, metrics))
    outputs = Outputs(out, draw, maps, metrics, request.codec)
    found = _found(source, out, follow)
    asked = _asked(request, outputs, found)
    with Journal(out / JOURNAL) as journal, StopSignals() as signals:
        past = Past.of(journal.entries)
        if request.force:
            past.last.clear()
        else:
            _require_the_same(past, asked, out, moved=moved)
        run = ArchiveRun(journal, found, outputs, as_json)
        count = workers or min(cores(), MAX_WORKERS)
        run.begin(found, asked, count, anew=request.force)
        todo = run.to_do(past, retry_failed)
        crew = Workers(request, count=count, patience=stalled, debug=debug)
        try:
            with Progress("archive", unit="file") as progress:
                tasks = run.tasks(todo, past.begun, replace=request.force)
                for event in crew.run(tasks, stop=lambda: signals.code is not None):
                    run.note(event)
                    progress(run.ended, len(todo), run.note_of_frames)
        finally:
            run.sum_up(len(todo), time.monotonic() - begun)
    return signals.code or (Exit.ITEMS if run.counts["failed"] else Exit.DONE)


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
    options |= options.pop("focus")
    _, sha256 = checkpoint.find(request.focus.model)
    asked = {name: options[name] for name in COMPARED}
    asked |= {name: getattr(outputs, name) for name in ("draw", "maps", "metrics")}
    asked["model"] = {request.focus.model: sha256}
    asked["root"] = os.path.realpath(found.root)
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def _require_the_same(past: Past, asked: dict[str, Any], out: Path, *, moved: bool) -> None:
    for name, before in (past.options or asked).items():
        now = asked.get(name, before)  # an option of another version says nothing
        if now == before or (name == "root" and moved):
            continue
        remedy = "--moved if these are the same files elsewhere, " if name == "root" else ""
        raise SettingsError(
            f"{out}: was begun with another {WORDS.get(name, name)} ({before}, now {now}): "
            f"give the same one, {remedy}another --out, or --force"
        )
