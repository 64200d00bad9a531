"""``br2focus archive``: annotates thousands of files, some of them broken, and resumes after a kill."""

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

MAX_WORKERS = 8  # default limit on processes; each takes up to half a gigabyte
# Files of an archive come from anywhere: these are the decoders best audited for vulnerabilities.
SAFE_CODECS = (
    *("av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"),
    *("prores", "theora", "vp8", "vp9"),
)
# Options that must not change when a run is resumed. The device may change.
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
# What messages call an option.
WORDS = {"draw": "overlay", "rois": "--roi", "root": "folder of inputs"}


@click.command("archive", epilog="Example: br2focus archive footage/ --out annotated/ --metrics csv")
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR|MANIFEST")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Folder for {JOURNAL} and for the results, which keep the sub-folders of the inputs.",
)
@click.option("--maps", type=click.Choice(["npz", "mkv"]), help="Write the blur maps next to each result.")
@click.option(
    "--metrics",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Write per-frame metrics next to each result.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help=f"Number of processes; default: one per core, at most {MAX_WORKERS}.",
)
@click.option(
    "--stalled",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Restart a file that yields no frame for this long; three tries in all.",
)
@click.option("--retry-failed", is_flag=True, help="Retry the files that failed in an earlier run.")
@click.option(
    "--allow-codec",
    "allowed",
    multiple=True,
    metavar="NAME",
    help=f"Also decode this video codec, such as dvvideo; repeatable. Always allowed: "
    f"{', '.join(SAFE_CODECS)}.",
)
@click.option("--follow", is_flag=True, help="Follow symbolic links to files and folders.")
@click.option("--moved", is_flag=True, help="The inputs are the same files in a new location.")
@click.option("--force", is_flag=True, help="Redo everything and overwrite existing results.")
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
    """Annotate a folder of videos and images, or the files listed in a manifest, one path per line.

    Run the same command again after a stop, a crash or a power cut: finished files are not done again. A
    file that cannot be read is reported and the run goes on. A file that kills its process three times is
    given up. With --overlay none, only figures are written: archive.csv has one row per file.
    """
    begun = time.monotonic()
    request = make_request(**options, codecs=SAFE_CODECS + allowed)
    draw = request.overlay != "none"
    check_every(request, draw=draw)
    maps, metrics = (kind and f".{kind}" for kind in (maps, metrics))
    outputs = Outputs(out, draw, maps, metrics, request.codec)
    found = _found(source, out, follow)
    recorded = _recorded_options(request, outputs, found)
    with Journal(out / JOURNAL) as journal, StopSignals() as signals:
        past = Past.of(journal.entries)
        if request.force:
            past.last.clear()
        else:
            _require_same_options(past, recorded, out, moved=moved)
        run = ArchiveRun(journal, found, outputs, as_json)
        count = workers or min(cores(), MAX_WORKERS)
        run.begin(found, recorded, count, anew=request.force)
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


def _recorded_options(request: Request, outputs: Outputs, found: Found) -> dict[str, Any]:
    """Return the options that determine the results, as JSON values, plus the root of the inputs.

    Raises:
        CheckpointError: there is no such model.
    """
    options = asdict(request)
    options |= options.pop("focus")
    _, sha256 = checkpoint.find(request.focus.model)
    recorded = {name: options[name] for name in COMPARED}
    recorded |= {name: getattr(outputs, name) for name in ("draw", "maps", "metrics")}
    recorded["model"] = {request.focus.model: sha256}
    recorded["root"] = os.path.realpath(found.root)
    plain: dict[str, Any] = json.loads(json.dumps(recorded))
    return plain


def _require_same_options(past: Past, recorded: dict[str, Any], out: Path, *, moved: bool) -> None:
    for name, before in (past.options or recorded).items():
        now = recorded.get(name, before)  # ignore an option that this version does not have
        if now == before or (name == "root" and moved):
            continue
        remedy = "--moved if these are the same files elsewhere, " if name == "root" else ""
        raise SettingsError(
            f"{out}: was begun with another {WORDS.get(name, name)} ({before}, now {now}): "
            f"give the same one, {remedy}another --out, or --force"
        )
