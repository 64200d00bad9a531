"""Files that the viewer writes: takes and snapshots, named by the time, never over another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from br2focus.realtime.frame import FocusResult
from br2focus.realtime.image_sink import Render
from br2focus.realtime.overlay import draw
from br2focus.realtime.presets import ViewSettings
from br2focus.realtime.scores import Scores
from br2focus.realtime.sink import FileSink
from br2focus.realtime.snapshot import SnapshotFolder
from br2focus.realtime.source import SourceInfo
from br2focus.realtime.video_writer import VideoWriter

Wanted = tuple[str, ...]  # of "annotated" and "clean"


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


def open_takes(
    folder: Path, wanted: Wanted, info: SourceInfo, settings: Callable[[], ViewSettings]
) -> list[FileSink]:
    """Writers for a recording.

    Args:
        folder: where they go.
        wanted: "annotated", "clean" or both.
        info: of the source.
        settings: the present ones: a recording shows what the window shows.

    Raises:
        SinkError: a file cannot be made; none is left open.
    """
    sinks: list[FileSink] = []
    try:
        for kind in wanted:
            path = free_path(folder, kind, ".mp4")
            sinks.append(VideoWriter(path, info, render=renderer(kind, settings)))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks


def renderer(kind: str, settings: Callable[[], ViewSettings]) -> Render:
    """What a take of ``kind`` shows of a result."""

    def annotated(result: FocusResult):  # type: ignore[no-untyped-def]  # an image
        now = settings()
        return draw(result, now.overlay, now.style)

    return annotated if kind == "annotated" else lambda result: result.frame.image


def save_snapshot(
    folder: Path, result: FocusResult, settings: ViewSettings, scores: Scores, source: str
) -> Path:
    """Write ``result`` as a `SnapshotFolder`; its place.

    Raises:
        SinkError: it cannot be written.
    """
    regions = {
        roi.name: {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height}
        | _figures(scores, roi.name)
        for roi in settings.rois
    }
    facts = {
        "source": source, "model": settings.model, "overlay": settings.overlay,
        "smoothing": settings.smoothing, "regions": regions,
    }  # fmt: skip
    path = free_path(folder, "snapshot", "")
    with SnapshotFolder(path, render=renderer("annotated", lambda: settings), facts=facts) as sink:
        sink.write(result)
    return path


def _figures(scores: Scores, name: str) -> dict[str, float]:
    series = scores.series.get(name)
    if series is None or series.last is None or series.best is None:
        return {}
    return {"sharpness": series.last.value, "best": series.best.value}
