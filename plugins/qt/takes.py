"""Files that the viewer writes: takes and snapshots, named by the time, never over another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.frame import Image
from br2focus.realtime.result import FocusResult
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.sink import FileSink, Render
from br2focus.realtime.sinks.snapshot import SnapshotWriter
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.video_info import SourceInfo

from .bridge import Shown


def free_path(folder: Path, kind: str, suffix: str) -> Path:
    """A name in ``folder`` made of the time, that no file has."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        more = f"-{number}" if number > 1 else ""
        path = folder / f"br2focus-{stamp}{more}-{kind}{suffix}"
        if not path.exists() and not path.with_name(f"{path.stem}.partial{suffix}").exists():
            return path
        number += 1


def open_takes(folder: Path, wanted: Sequence[str], info: SourceInfo, drawn: Render) -> list[FileSink]:
    """Writers for a recording.

    Args:
        folder: where they go.
        wanted: "annotated", "clean" or both.
        info: of the source.
        drawn: a result as the window shows it.

    Raises:
        SinkError: a file cannot be made; none is left open.
    """
    plain = SourceInfo(info.name, rate=info.rate, live=True)  # a take is no copy of a file's streams
    sinks: list[FileSink] = []
    try:
        for kind in wanted:
            render = drawn if kind == "annotated" else clean
            sinks.append(VideoWriter(free_path(folder, kind, ".mp4"), plain, render=render))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks


def clean(result: FocusResult) -> Image:
    """The picture alone."""
    return result.frame.image


def save_snapshot(folder: Path, shown: Shown, settings: ViewSettings, source: str) -> Path:
    """Write what is shown as a `SnapshotWriter`; its place.

    Raises:
        SinkError: it cannot be written.
    """
    regions: dict[str, dict[str, Any]] = {}
    for roi in settings.rois:
        regions[roi.name] = {key: value for key, value in roi._asdict().items() if key != "name"}
        if roi.name in shown.scores:
            regions[roi.name]["sharpness"], regions[roi.name]["best"] = shown.scores[roi.name]
    facts = {
        "source": source,
        "model": settings.model,
        "overlay": settings.overlay,
        "style": asdict(settings.style),
        "smoothing": settings.smoothing,
        "refine": settings.refine,
        "size": settings.size,
        "regions": regions,
    }
    path = free_path(folder, "snapshot", "")

    def render(result: FocusResult) -> Image:
        return draw(result, settings.overlay, settings.style)

    with SnapshotWriter(path, render=render, facts=facts) as sink:
        sink.write(shown.result)
    return path
