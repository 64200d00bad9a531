"""``br2focus bench``: how fast this machine is, in figures that another run can be compared with."""

from __future__ import annotations

import json
from typing import Any

import click

from br2focus.realtime.engine import EngineSettings

from .options import engine_options, report_options


@click.group("bench")
def command() -> None:
    """Measure speed, drops, age and memory on this machine."""


@command.command("live", epilog="Example: br2focus bench live --seconds 10 --json")
@click.option("--rate", type=click.FloatRange(1, 240), default=30, show_default=True,
              help="Pictures a second that the source gives.")  # fmt: skip
@click.option("--picture", default="640x480", show_default=True, metavar="WxH")
@click.option("--seconds", type=click.FloatRange(2), default=20, show_default=True,
              help="Measured, after the warm-up.")  # fmt: skip
@click.option("--soak", type=click.IntRange(0), default=3000, show_default=True, metavar="FRAMES",
              help="As fast as it goes, for the slope of the memory; 0 = left out.")  # fmt: skip
@click.option("--headless", is_flag=True, help="Up to the result instead of up to the paint.")
@engine_options
@report_options
def live(
    rate: float, picture: str, seconds: float, soak: int, headless: bool, as_json: bool,
    debug: bool, **engine: Any,
) -> None:  # fmt: skip
    """A paced focus pull through the pipeline and the window: what is processed, dropped, and how late.

    The pictures are made before the clock starts. The age is from a picture's arrival to its paint, with the
    smoothing's delay in it. Without a screen, set QT_QPA_PLATFORM=offscreen.
    """
    from .bench_live import Load, measure

    load = Load.of(picture, rate, seconds, soak)
    report = measure(load, EngineSettings(**engine), headless=headless)
    click.echo(json.dumps(report) if as_json else text(report))


def text(report: dict[str, Any]) -> str:
    """The report as people read it."""
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
