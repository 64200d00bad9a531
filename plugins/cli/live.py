"""``br2focus live``: shows what is in focus in a camera, a stream or the built-in test, in real time."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from br2focus.plugins.qt import default_folder, open_viewer
from br2focus.plugins.qt.start import Start
from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.frame import Image
from br2focus.realtime.overlay_style import KINDS
from br2focus.realtime.presets import load_preset, preset_path
from br2focus.realtime.result import FocusResult
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.metrics import MetricsWriter
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.live.open import CameraMode, LiveOptions, check_live, open_live
from br2focus.realtime.video_info import SourceInfo

from .exits import report_options
from .headless import run_headless
from .options import Form, RoiType, SmoothingType, engine_options, given, refine_option
from .progress import StopSignals


class CameraModeType(Form):
    """``WxH``, ``WxH@RATE`` or ``WxH@RATE:CODE``."""

    name = "WxH[@RATE[:CODE]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CameraMode:
        """Parse text into a `CameraMode`; a usage error shows the expected form."""
        found = re.fullmatch(r"(\d+)x(\d+)(?:@(\d+(?:\.\d+)?)(?::(\w{1,4}))?)?", str(value))
        if not found:
            self.fail(f"{value!r} is not {self.name}, such as 1280x720@30:MJPG", param, ctx)
        width, height, rate, code = found.groups()
        return CameraMode((int(width), int(height)), float(rate) if rate else None, code)


@click.command("live", epilog="Example: br2focus live test")
@click.argument("source", default="0")
@click.option("--headless", is_flag=True, help="Run without a window; print status lines to stderr.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    help="Write the annotated video; cameras and streams are recorded without audio.",
)
@click.option("--metrics", type=click.Path(path_type=Path), help="Per-frame metrics: .csv, .jsonl, .parquet.")
@click.option("--roi", "rois", type=RoiType(), multiple=True, help="Region to score; repeatable.")
@click.option("--overlay", type=click.Choice(KINDS), help="Overlay to draw.  [default: peaking]")
@click.option(
    "--smoothing",
    type=SmoothingType(),
    help="Temporal smoothing of maps; look-ahead delays the picture by FRAMES (5), SECONDS is a "
    "fixed time constant.  [default: adaptive]",
)
@refine_option("fast")
@click.option("--preset", metavar="NAME|FILE", help="Preset saved in the viewer; options override it.")
@click.option(
    "--takes",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the window's recordings and snapshots.  [default: your videos folder]",
)
@click.option(
    "--camera-mode",
    "mode",
    type=CameraModeType(),
    help="Mode to request from the camera, e.g. 1280x720@30.  [default: its own choice]",
)
@click.option(
    "--retry-for",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Give up a lost source after this time; default: never, once it has delivered a picture.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Stop this long after the first picture.",
)
@click.option("--allow-web", is_flag=True, help="Accept http and https addresses.")
@click.option("--allow-still", is_flag=True, help="Do not treat a long frozen picture as a fault.")
@click.option("--force", is_flag=True, help="Overwrite existing outputs.")
@engine_options
@report_options
def command(
    source: str,
    headless: bool,
    record: Path | None,
    metrics: Path | None,
    preset: str | None,
    takes: Path | None,
    mode: CameraMode | None,
    retry_for: float | None,
    duration: float | None,
    allow_web: bool,
    allow_still: bool,
    force: bool,
    as_json: bool,
    debug: bool,
    **options: Any,
) -> int:
    """Show live focus from SOURCE in a window: a camera's number, name or id, an address, a file, or test.

    SOURCE defaults to camera 0.

    Only the newest frame counts: frames that cannot be computed in time are dropped, and counted. A source
    that stalls, freezes or disappears is reopened until it returns, and the recording then continues. In the
    window, press ? to see all keys.
    """
    settings = _settings(preset, options)
    allowed = LiveOptions(mode, retry_for, allow_web=allow_web, allow_still=allow_still)

    def sinks(info: SourceInfo, now: Callable[[], ViewSettings]) -> list[FileSink]:
        return _sinks(info, record, metrics, now, overwrite=force)

    if headless:
        if takes is not None:
            raise SettingsError("--takes is for the window: with --headless, use --record")
        return run_headless(open_live(source, allowed), settings, sinks, duration, as_json=as_json)
    if as_json:
        raise SettingsError("--json needs --headless")
    check_live(source, allowed)
    _refuse_input(record, source)
    folder = takes or default_folder()

    def plain(info: SourceInfo, now: Callable[[], ViewSettings]) -> list[FileSink]:
        """Leave the audio out: the recorder keeps its own time, so a file's audio would not match."""
        return sinks(SourceInfo(info.name, rate=info.rate, live=True), now)

    return _in_window(Start(source, settings, folder, allowed, sinks=plain, duration=duration))


def _refuse_input(record: Path | None, source: str) -> None:
    """Refuse to overwrite the input: a recording may start at any time, so it is no copy of the file."""
    if record is not None and record.exists() and Path(source).is_file() and record.samefile(source):
        raise SinkError(f"{record}: that is the input; choose another name")


def _settings(preset: str | None, options: dict[str, Any]) -> ViewSettings:
    """Return the preset's settings, overridden by the options given on the command line."""
    settings = load_preset(preset_path(preset)) if preset else ViewSettings()
    return replace(settings, **given(options))


def _sinks(
    info: SourceInfo,
    record: Path | None,
    metrics: Path | None,
    now: Callable[[], ViewSettings],
    *,
    overwrite: bool,
) -> list[FileSink]:
    """Open the sinks for ``--record`` and ``--metrics``."""

    def render(result: FocusResult) -> Image:
        return draw(result, now().overlay, replace(now().style, legend=True))

    made: list[FileSink] = []
    try:
        if metrics is not None:
            made.append(MetricsWriter(metrics, now().rois, overwrite=overwrite, now=lambda: now().rois))
        if record is not None:
            made.append(VideoWriter(record, info, render=render, overwrite=overwrite))
    except BaseException:
        for sink in made:
            sink.abort()
        raise
    return made


def _in_window(start: Start) -> int:
    closers: list[Callable[[], None]] = []
    with StopSignals(asked=lambda: [close() for close in closers]) as signals:

        def ready(close: Callable[[], None]) -> None:
            closers.append(close)
            if signals.code is not None:  # the signal came while the window was created
                close()

        ended = open_viewer(start, ready)
    if not ended:  # a driver call that never returns must not keep the process alive
        sys.stderr.flush()
        os._exit(signals.code or 0)
    return signals.code or 0
