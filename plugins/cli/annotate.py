"""``br2focus annotate``: videos, images and folders into annotated ones, maps and metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import click

from br2focus.realtime.annotate import Summary, annotate
from br2focus.realtime.audio_copy import suggest_suffix
from br2focus.realtime.engine import BackendName, Engine, EngineSettings, PrecisionName
from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.finishing import painter
from br2focus.realtime.frame import FocusResult, Image, Roi
from br2focus.realtime.image_files import Images
from br2focus.realtime.image_sink import ImageFile, already_drawn
from br2focus.realtime.maps import Maps
from br2focus.realtime.metrics_file import Metrics
from br2focus.realtime.overlay import KINDS, OverlayKind, OverlayStyle, draw, load_font
from br2focus.realtime.refining import RefineMode
from br2focus.realtime.sink import Sink
from br2focus.realtime.smoothing import SmoothingSetting, make_smoother
from br2focus.realtime.source import SourceInfo
from br2focus.realtime.video_file import VideoFile
from br2focus.realtime.video_info import VideoInfo
from br2focus.realtime.video_writer import CODECS, VideoSettings, VideoWriter

from .exits import Exit, line_of, report, say
from .jobs import Job, plan
from .options import RoiType, SmoothingType, engine_options, given, refine_option, report_options
from .progress import Progress, StopSignals


@dataclass(frozen=True)
class Request:
    """The options of one call."""

    engine: EngineSettings
    overlay: OverlayKind
    style: OverlayStyle
    rois: tuple[Roi, ...]
    smoothing: SmoothingSetting
    refine: RefineMode
    codec: str
    crf: int | None
    start: float | None
    duration: float | None
    stream: int | None
    gpu_decode: bool
    strict: bool
    allow_special: bool
    force: bool


@click.command(
    "annotate", epilog="Example: br2focus annotate clip.mp4 -o peaking.mp4 --overlay peaking"
)
@click.argument(
    "inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT..."
)
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    help="File or folder. Default: NAME_annotated beside the input.",
)
@click.option(
    "--overlay",
    type=click.Choice(KINDS),
    default="heat",
    show_default=True,
    help="What is drawn; none with --maps or --metrics alone writes no picture.",
)
@click.option(
    "--preset", metavar="NAME|FILE",
    help="Draw what the viewer saved: overlay, its style, regions, model, size; options go first.",
)  # fmt: skip
@click.option("--stripes", is_flag=True, help="Peaking as stripes: not by colour alone.")
@click.option(
    "--legend/--no-legend",
    default=True,
    show_default=True,
    help="The small plate that explains the colours.",
)
@click.option(
    "--maps",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write the blur maps: a folder (16-bit PNG), .npz, or .mkv (gray FFV1).",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write figures per frame: .csv, .jsonl or .parquet.",
)
@click.option(
    "--roi",
    "rois",
    type=RoiType(),
    multiple=True,
    help="A region with a score of its own in --metrics; repeatable.",
)
@click.option(
    "--smoothing",
    type=SmoothingType(),
    default="look-ahead",
    show_default=True,
    help="Of maps in time: adaptive follows focus pulls, look-ahead knows the next frames (5), seconds are "
    "a fixed time constant.",
)
@refine_option("best")
@click.option(
    "--codec",
    type=click.Choice(list(CODECS)),
    default="h264",
    show_default=True,
    help="Video codec.",
)
@click.option(
    "--crf", type=click.IntRange(0, 63), help="Quality of the codec; lower is better and larger."
)
@click.option("--start", type=click.FloatRange(0), help="Skip to this second.")
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), help="Stop after so many seconds."
)
@click.option(
    "--stream", type=click.IntRange(0), help="Which video stream; default: the container's best."
)
@click.option(
    "--gpu-decode", is_flag=True,
    help="Decode on the GPU that computes: spares the CPU, and is slower where that has cores to spare.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="A damaged input is an error (exit 3).")
@click.option("--allow-special", is_flag=True, help="Allow pipes and devices as input.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@engine_options
@report_options
def command(
    inputs: tuple[Path, ...], out: Path | None, maps: Path | None, metrics: Path | None,
    preset: str | None, stripes: bool, legend: bool, device: str, backend: BackendName,
    precision: PrecisionName, compiled: bool, as_json: bool, debug: bool, **options: Any,
) -> int:  # fmt: skip
    """Annotate videos, images or folders with what is in focus.

    Every frame comes out once, with its time; sound is copied bit for bit. A file gets its final name
    only when it is complete.
    """
    style = OverlayStyle()
    if preset is not None:
        saved, style = _saved(preset)
        options |= saved | given(options)
    model, size = options.pop("model"), options.pop("size")
    settings = EngineSettings(model, device, size, backend, precision, compiled)
    style = replace(style, stripes=stripes or style.stripes, legend=legend)
    request = Request(engine=settings, style=style, **options)
    drawn = request.overlay != "none" or out is not None or not (maps or metrics)
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


def _saved(preset: str) -> tuple[dict[str, Any], OverlayStyle]:
    """Options that a preset stands for, and its style; how maps are smoothed is another matter in a file."""
    from br2focus.realtime.presets import load_preset, preset_path  # slow to import, seldom used

    saved = load_preset(preset_path(preset))
    return {
        name: getattr(saved, name) for name in ("overlay", "rois", "model", "size")
    }, saved.style


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made a folder ({error.strerror})") from error


def _run_all(
    jobs: list[Job], request: Request, *, stop: Callable[[], bool], debug: bool
) -> list[dict[str, Any]]:
    """The entries of all jobs in order; one that fails is reported and the next one begins."""
    engine = Engine(request.engine)
    notices = list(engine.notices)
    if request.gpu_decode and engine.gpu is None:
        notices.append("--gpu-decode is for a GPU: left out")
    for notice in notices:
        say(notice)
    # While the model is loaded; no daemon, which would be killed inside OpenCV if all ends at once.
    Thread(target=load_font).start()
    for folder in {job.output.parent for job in jobs if job.output and job.in_folder}:
        _make_folder(folder)
    entries = []
    for job in jobs:
        if stop():
            break
        try:
            entries.append(_run(job, engine, request, stop))
        except Exception as error:
            code = report(error, debug=debug)
            entries.append({"input": str(job.source), "error": line_of(error), "exit": code})
    if engine.choice is not None and engine.choice.fresh:
        say(f"measured once: {engine.choice.reason}")
    return entries


def _run(job: Job, engine: Engine, request: Request, stop: Callable[[], bool]) -> dict[str, Any]:
    """One job; returns its entry of the JSON summary."""
    source = _open(job, request, engine.gpu if request.gpu_decode else None)
    with source:
        if isinstance(source.info, VideoInfo) and job.output and job.suffix_open:
            name = job.output.name + suggest_suffix(source.info)
            job = replace(job, output=job.output.with_name(name))
        sinks = _sinks(job, source, request)
        smoothing = make_smoother(request.smoothing, patient=True)
        already = len(engine.notices)
        with Progress(job.source.name) as progress:
            paint, model = painter(engine), engine.info.name

            def render(result: FocusResult) -> Image:
                return draw(result, request.overlay, request.style, model, paint=paint)

            def show(done: int, expected: int | None) -> bool:
                progress(done, expected)
                return stop()

            try:
                summary = annotate(
                    source, engine, sinks, smoothing=smoothing, refining=request.refine,
                    draw=render if job.output else None, progress=show,
                )  # fmt: skip
            except BaseException:
                for kept in (sink.kept for sink in sinks if isinstance(sink, VideoWriter)):
                    if kept is not None:
                        say(f"the part done is in {kept}")
                raise
    notices = [*getattr(source, "notices", ()), *engine.notices[already:]]
    notices += [n for sink in sinks for n in getattr(sink, "notices", ())]
    if summary.stopped:
        expected = f" of {source.info.frames}" if source.info.frames else ""
        notices.append(f"stopped after {summary.frames}{expected} frames; the rest is missing")
    for notice in notices:
        say(f"{job.source.name}: {notice}")
    entry = _entry(job, source, summary, sinks, engine)
    where = job.output or job.maps or job.metrics
    print(f"{where}: {summary.frames} frames, {summary.fps:.1f} frames/s", file=sys.stderr)
    return {**entry, "notices": notices}


def _open(job: Job, request: Request, gpu: int | None) -> Images | VideoFile:
    if job.is_image:
        return Images([job.source])
    return VideoFile(
        job.source, start=request.start, duration=request.duration, stream=request.stream,
        strict=request.strict, allow_special=request.allow_special, gpu=gpu,
    )  # fmt: skip


def _sinks(job: Job, source: Images | VideoFile, request: Request) -> list[Sink]:
    """The outputs of one job; what was opened is given up when a later one cannot be."""
    opened: list[Sink] = []
    try:
        if job.metrics is not None:
            _require_inside(request.rois, source.info.size)
            opened.append(Metrics(job.metrics, request.rois, overwrite=request.force))
        if job.maps is not None:
            opened.append(Maps(job.maps, source.info, overwrite=request.force))
        if job.output is not None:
            opened.append(_picture_sink(job, job.output, source.info, request))
    except BaseException:
        for sink in opened:
            sink.abort()
        raise
    return opened


def _picture_sink(job: Job, path: Path, info: SourceInfo, request: Request) -> Sink:
    force = request.force
    if job.is_image:
        return ImageFile(path, render=already_drawn, overwrite=force, source=job.source)
    settings = VideoSettings(request.codec, request.crf)
    return VideoWriter(path, info, render=already_drawn, settings=settings, overwrite=force)


def _require_inside(rois: tuple[Roi, ...], size: tuple[int, int] | None) -> None:
    for roi in rois:
        if size is not None and (
            roi.x >= size[0]
            or roi.y >= size[1]
            or roi.x + roi.width <= 0
            or roi.y + roi.height <= 0
        ):
            raise SettingsError(f"ROI {roi.name!r} lies outside the {size[0]} x {size[1]} frame")


def _entry(
    job: Job, source: Images | VideoFile, summary: Summary, sinks: list[Sink], engine: Engine
) -> dict[str, Any]:
    """What ``--json`` says of one input."""
    writers = [sink for sink in sinks if isinstance(sink, VideoWriter)]
    return {
        "input": str(job.source),
        "output": str(job.output) if job.output else None,
        "frames": summary.frames,
        "stopped": summary.stopped,
        "seconds": round(summary.seconds, 3),
        "fps": round(summary.fps, 2),
        "audio_streams": sum(writer.audio_streams for writer in writers),
        "damaged": getattr(source, "damaged", 0),
        "repaired_timestamps": getattr(source, "repaired_timestamps", 0),
        "model": engine.info.name,
        "device": engine.device,
    }
