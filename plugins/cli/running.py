"""Runs one job from its input to its outputs, for `annotate` and `archive`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from br2focus.realtime.annotation import Progress, Summary, annotate
from br2focus.realtime.drawing.dispatch import drawer
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Image, Roi
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.audio_copy import suggest_suffix
from br2focus.realtime.sinks.codecs import VideoSettings
from br2focus.realtime.sinks.images import ImageFileWriter
from br2focus.realtime.sinks.maps import MapWriter
from br2focus.realtime.sinks.metrics import MetricsWriter
from br2focus.realtime.sinks.sink import Sink, picture_of
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.images import ImageFiles
from br2focus.realtime.sources.sampled import SampledSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.sources.video_file import VideoFile
from br2focus.realtime.video_info import SourceInfo, VideoInfo

from .jobs import Job
from .request import Request


def notices_of(engine: Engine, request: Request) -> list[str]:
    """Return the notices to show before the first job."""
    left_out = request.gpu_decode and engine.gpu is None
    return engine.notices + ["--gpu-decode is for a GPU: left out"] * left_out


def run_job(
    job: Job,
    engine: Engine,
    request: Request,
    progress: Progress,
    *,
    part: Callable[[Path], object],
    also: Sequence[Sink] = (),
) -> dict[str, Any]:
    """Annotate the input of ``job`` into its outputs; return its entry of the JSON summary.

    Args:
        job: what to read and write.
        engine: computes the maps.
        request: how to annotate.
        progress: see `realtime.annotation.Progress`; returning True ends the outputs at that frame.
        part: called with an incomplete file that an error left behind.
        also: further sinks.

    Raises:
        FocusError: the job failed; no output got its final name.
    """
    with _open(job, request, engine.gpu if request.gpu_decode else None) as source:
        if isinstance(source.info, VideoInfo) and job.output and job.suffix_open:
            name = job.output.name + suggest_suffix(source.info)
            job = replace(job, output=job.output.with_name(name))
        frames = SampledSource(source, request.every) if request.every else source
        sinks = _sinks(job, frames, request)
        already = len(engine.notices)
        shown = bool(job.output or job.maps)  # metrics use each frame's own, unsmoothed map
        paint = drawer(engine)

        def render(result: FocusResult) -> Image:
            return paint(result, request.overlay, request.style)

        try:
            summary = annotate(
                frames,
                engine,
                [*sinks, *also],
                smoothing=request.focus.smoothing if shown else None,
                refine=request.focus.refine if shown else "off",
                draw=render if job.output else None,
                progress=progress,
            )
        except BaseException:
            for kept in (sink.kept for sink in sinks if isinstance(sink, VideoWriter)):
                if kept is not None:
                    part(kept)
            raise
    notices = _notices(source, sinks, summary, frames.info.frames) + engine.notices[already:]
    return {**_entry(job, source, summary, sinks, engine), "notices": notices}


def _notices(
    source: ImageFiles | VideoFile, sinks: Sequence[Sink], summary: Summary, expected: int | None
) -> list[str]:
    """Return the notices of one job, one per line."""
    notices = [*source.notices, *(n for sink in sinks for n in sink.notices)]
    if summary.stopped:
        of_all = f" of {expected}" if expected else ""
        notices.append(f"stopped after {summary.frames}{of_all} frames; the rest is missing")
    return notices


def _open(job: Job, request: Request, gpu: int | None) -> ImageFiles | VideoFile:
    if job.is_image:
        return ImageFiles([job.source])
    return VideoFile(
        job.source,
        start=request.start,
        duration=request.duration,
        stream=request.stream,
        strict=request.strict,
        allow_special=request.allow_special,
        gpu=gpu,
        codecs=request.codecs,
    )


def _sinks(job: Job, source: Source, request: Request) -> list[Sink]:
    """Open the outputs of one job; if one cannot be opened, abort the earlier ones."""
    opened: list[Sink] = []
    try:
        if job.metrics is not None:
            _require_inside(request.rois, source.info.size)
            opened.append(MetricsWriter(job.metrics, request.rois, overwrite=request.force))
        if job.maps is not None:
            radii = request.radii
            opened.append(MapWriter(job.maps, source.info, overwrite=request.force, radii=radii))
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
        return ImageFileWriter(path, render=picture_of, overwrite=force, source=job.source)
    settings = VideoSettings(request.codec, request.crf)
    return VideoWriter(path, info, render=picture_of, settings=settings, overwrite=force)


def _require_inside(rois: tuple[Roi, ...], size: tuple[int, int] | None) -> None:
    for roi in rois:
        if size is not None and (
            roi.x >= size[0] or roi.y >= size[1] or roi.x + roi.width <= 0 or roi.y + roi.height <= 0
        ):
            raise SettingsError(f"ROI {roi.name!r} lies outside the {size[0]} x {size[1]} frame")


def _entry(
    job: Job, source: ImageFiles | VideoFile, summary: Summary, sinks: list[Sink], engine: Engine
) -> dict[str, Any]:
    """Return the ``--json`` entry of one input."""
    writers = [sink for sink in sinks if isinstance(sink, VideoWriter)]
    return {
        "input": str(job.source),
        "output": str(job.output) if job.output else None,
        "frames": summary.frames,
        "stopped": summary.stopped,
        "seconds": round(summary.seconds, 3),
        "fps": round(summary.fps, 2),
        "audio_streams": sum(writer.audio_streams for writer in writers),
        "damaged": source.damaged,
        "repaired_timestamps": source.repaired_timestamps,
        "model": engine.info.name,
        "device": engine.device,
        "reference_px": engine.reference.rounded,
    }
