"""``br2focus bench``: measures this machine, in figures that are comparable between runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from br2focus.plugins.cli.exits import report_options
from br2focus.plugins.cli.options import engine_options, size_of
from br2focus.realtime.engine.settings import EngineSettings


@click.group("bench")
def command() -> None:
    """Measure speed, dropped frames, age and memory on this machine."""


@command.command("live", epilog="Example: br2focus bench live --seconds 10 --json")
@click.option(
    "--rate",
    type=click.FloatRange(1, 240),
    default=30,
    show_default=True,
    help="Pictures per second of the source.",
)
@click.option("--picture", default="640x480", show_default=True, metavar="WxH")
@click.option(
    "--seconds",
    type=click.FloatRange(2),
    default=20,
    show_default=True,
    help="Measuring time, after the warm-up.",
)
@click.option(
    "--soak",
    type=click.IntRange(0),
    default=3000,
    show_default=True,
    metavar="FRAMES",
    help="Frames to run at full speed to measure memory growth; 0 skips this.",
)
@click.option("--headless", is_flag=True, help="Measure up to the result instead of up to the paint.")
@engine_options
@report_options
def live(
    rate: float,
    picture: str,
    seconds: float,
    soak: int,
    headless: bool,
    as_json: bool,
    debug: bool,
    **engine: Any,
) -> None:
    """Run a paced focus pull through the pipeline and the window: frames processed, dropped, and their age.

    The pictures are rendered before the clock starts. The age is the time from a picture's arrival to its
    paint, including the smoothing delay. Without a screen, set QT_QPA_PLATFORM=offscreen.
    """
    from .live import BackgroundLoad, measure

    load = BackgroundLoad.of(picture, rate, seconds, soak)
    report = measure(load, EngineSettings(**engine), headless=headless)
    click.echo(json.dumps(report) if as_json else text(report))


@command.command("engine", epilog="Example: br2focus bench engine --size 320 --json")
@click.option("--picture", default="1280x720", show_default=True, metavar="WxH")
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=5,
    show_default=True,
    help="Time for each of the three tables.",
)
@engine_options
@report_options
def engine(picture: str, seconds: float, as_json: bool, debug: bool, **settings: Any) -> None:
    """Time the network with every library and arithmetic here, the stages of a frame, and other measures.

    Compares them with the plain form of the network and the limits of this machine, measured in the same run.
    """
    from .engine import measure

    report = measure(EngineSettings(**settings), size_of(picture), seconds)
    click.echo(json.dumps(report) if as_json else engine_text(report))


@command.command("video", epilog="Example: br2focus bench video clip.mp4")
@click.argument("clip", type=click.Path(path_type=Path), required=False)
@click.option(
    "--picture", default="1280x720", show_default=True, metavar="WxH", help="Size of the rendered clip."
)
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds to take the median of."
)
@engine_options
@report_options
def video(clip: Path | None, picture: str, rounds: int, as_json: bool, debug: bool, **settings: Any) -> None:
    """Compare annotating CLIP (or a rendered one) with decoding, the network and encoding alone.

    The upper limit is the number of cores divided by the CPU seconds of the three parts. With cores for every
    stage, it is the speed of the slowest stage alone.
    """
    from .video import measure

    report = measure(EngineSettings(**settings), clip, rounds, size_of(picture))
    click.echo(json.dumps(report) if as_json else video_text(report))


def video_text(report: dict[str, Any]) -> str:
    """Format the report of `bench video` for reading."""
    head = f"{'':24}{'wall ms':>10}{'CPU ms':>10}{'frames/s':>10}{'of most':>10}"
    rows = [
        f"{row['what']:24}{row['wall_ms']:10.2f}{row['cpu_ms']:10.2f}{row['frames_per_s']:10.1f}"
        f"{row['share_of_most']:10.0%}"
        for row in report["rows"]
    ]
    most = (
        f"most that is possible: {report['most_frames_per_s']:.1f} frames/s; "
        f"annotate has {report['share_of_slowest_stage']:.0%} of its slowest stage's"
    )
    return "\n".join([f"{report['clip']}, {report['model']} on {report['device']}", head, *rows, most])


def engine_text(report: dict[str, Any]) -> str:
    """Format the report of `bench engine` for reading."""
    head = f"{'':34}{'ms':>8}{'p95':>8}{'maps/s':>9}{'x plain':>9}{'ceiling':>9}{'dP max':>9}"
    lines = [f"{report['model']}, maps of {report['map']}, {report['machine']['cpu']}", head]
    lines += [
        f"{row['way']:34}{row['p50']:8.1f}{row['p95']:8.1f}{row['maps_per_s']:9.1f}"
        f"{row['times_plain']:9.1f}{row['share_of_ceiling']:9.0%}{row['largest_difference']:9.2g}"
        for row in report["network"]
    ]
    for title, key in (("stages of a frame", "stages_ms"), ("other measures", "peers_ms")):
        lines.append(f"{title}, {report['picture']}")
        lines += [f"{name:34}{ms['p50']:8.1f}{ms['p95']:8.1f}" for name, ms in report[key].items()]
    stage = report["stage"]
    lines.append(f"FocusStage {stage['focus_stage_ms']:.1f} ms, its parts {stage['bare_ms']:.1f} ms")
    return "\n".join(lines)


def text(report: dict[str, Any]) -> str:
    """Format the report of `bench live` for reading."""
    stages = ", ".join(f"{name} {spent:.1f}" for name, spent in report["stages_ms"].items())
    slope = report["memory_slope_bytes_per_frame"]
    memory = "not measured" if slope is None else f"{slope:.0f} bytes a frame"
    return (
        f"{report['source']}, {report['model']} on {report['device']}, {report['shown']}\n"
        f"{report['frames_per_second']:.1f} frames/s, {report['dropped']} dropped\n"
        f"age {report['age_ms']['p50']:.0f} / {report['age_ms']['p95']:.0f} ms (p50 / p95), "
        f"{report['age_ms']['smoothing']:.0f} of it smoothing\n"
        f"stages in ms: {stages}\nmemory grows by {memory}"
    )
