"""``br2focus annotate``: turns videos, images and folders into annotated files, maps and metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import click

from br2focus.realtime.drawing.legend import load_font
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.output import make_folder

from .exits import Exit, line_of, report, report_options, say
from .jobs import Job, plan
from .progress import Progress, StopSignals
from .request import Request, check_every, make_request, request_options
from .running import notices_of, run_job


@click.command("annotate", epilog="Example: br2focus annotate clip.mp4 -o peaking.mp4 --overlay peaking")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    help="Output file or folder. Default: NAME_annotated next to the input.",
)
@click.option(
    "--maps",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write the blur maps to a folder (16-bit PNG), an .npz file or an .mkv file (gray FFV1).",
)
@click.option("--radii", is_flag=True, help="With --maps OUT.npz: also write blur radii in pixels.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write per-frame metrics to a .csv, .jsonl or .parquet file.",
)
@click.option("--start", type=click.FloatRange(0), help="Start at this time in seconds.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Stop after this many seconds.")
@click.option("--stream", type=click.IntRange(0), help="Video stream to use; default: the container's best.")
@click.option("--allow-special", is_flag=True, help="Accept pipes and devices as input.")
@click.option("--force", is_flag=True, help="Overwrite existing outputs.")
@request_options
@report_options
def command(
    inputs: tuple[Path, ...],
    out: Path | None,
    maps: Path | None,
    metrics: Path | None,
    as_json: bool,
    debug: bool,
    **options: Any,
) -> int:
    """Mark what is in focus in videos, images or folders.

    Every frame is written exactly once, with its original timestamp. Audio is copied bit for bit. A file
    gets its final name only when it is complete.
    """
    request = make_request(**options)
    if request.radii and maps is None:
        raise SettingsError("--radii goes with --maps OUT.npz")
    drawn = request.overlay != "none" or out is not None or not (maps or metrics)
    check_every(request, draw=drawn)
    jobs = plan(list(inputs), out=out, maps=maps, metrics=metrics, codec=request.codec, draw=drawn)
    with StopSignals() as signals:
        entries = _run_all(jobs, request, stop=lambda: signals.code is not None, debug=debug)
    failed = [entry for entry in entries if "error" in entry]
    done = [entry for entry in entries if "error" not in entry]
    if len(jobs) > 1:
        say(f"{len(done)} done, {len(failed)} failed, {len(jobs) - len(entries)} not begun")
    if as_json:
        click.echo(json.dumps({"inputs": done, "failed": failed}))
    return signals.code or (failed[0]["exit"] if failed else Exit.DONE)


def _run_all(
    jobs: list[Job], request: Request, *, stop: Callable[[], bool], debug: bool
) -> list[dict[str, Any]]:
    """Run all jobs in order and return their JSON entries; report a failed job and go on with the next."""
    engine = Engine(request.focus)
    for notice in notices_of(engine, request):
        say(notice)
    # Runs while the model loads. Not a daemon thread: an early exit would kill that inside OpenCV.
    Thread(target=load_font).start()
    for folder in {job.output.parent for job in jobs if job.output and job.in_folder}:
        make_folder(folder)
    entries = []
    for job in jobs:
        if stop():
            break
        try:
            entries.append(_run(job, engine, request, stop))
        except Exception as error:
            code = report(error, debug=debug)
            entries.append({"input": str(job.source), "error": line_of(error), "exit": code})
    if engine.selection is not None and engine.selection.fresh:
        say(f"measured once: {engine.selection.reason}")
    return entries


def _run(job: Job, engine: Engine, request: Request, stop: Callable[[], bool]) -> dict[str, Any]:
    """Run one job, show its progress and notices, and return its entry of the JSON summary."""
    with Progress(job.source.name) as progress:

        def show(done: int, expected: int | None) -> bool:
            progress(done, expected)
            return stop()

        entry = run_job(job, engine, request, show, part=lambda kept: say(f"the part done is in {kept}"))
    for notice in entry["notices"]:
        say(f"{job.source.name}: {notice}")
    where = entry["output"] or job.maps or job.metrics
    print(f"{where}: {entry['frames']} frames, {entry['fps']:.1f} frames/s", file=sys.stderr)
    return entry
