"""``br2focus live``: a camera, a stream or the built-in test, with what is in focus, as it happens."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from br2focus.plugins.qt import default_folder, open_viewer
from br2focus.plugins.qt.start import Start
from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import LostError, SettingsError, SinkError
from br2focus.realtime.frame import Image
from br2focus.realtime.overlay_style import KINDS
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.result import FocusResult
from br2focus.realtime.settings import ViewSettings, load_preset, preset_path
from br2focus.realtime.sinks.metrics import MetricsWriter
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.live.open import CameraMode, LiveOptions, check_live, open_live
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource, State
from br2focus.realtime.sources.source import Source
from br2focus.realtime.stats import Statistics
from br2focus.realtime.video_info import SourceInfo

from .exits import report_options, say
from .options import Form, RoiType, SmoothingType, engine_options, given, refine_option
from .progress import StopSignals

HUD_SECONDS = 5.0


class CameraModeType(Form):
    """``WxH``, ``WxH@RATE`` or ``WxH@RATE:CODE``."""

    name = "WxH[@RATE[:CODE]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CameraMode:
        """Text to `CameraMode`; a usage error says the form."""
        found = re.fullmatch(r"(\d+)x(\d+)(?:@(\d+(?:\.\d+)?)(?::(\w{1,4}))?)?", str(value))
        if not found:
            self.fail(f"{value!r} is not {self.name}, such as 1280x720@30:MJPG", param, ctx)
        width, height, rate, code = found.groups()
        return CameraMode((int(width), int(height)), float(rate) if rate else None, code)


@click.command("live", epilog="Example: br2focus live test")
@click.argument("source", default="0")
@click.option("--headless", is_flag=True, help="Without a window: status lines on stderr.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    help="Write the annotated video; there is no sound from cameras and streams.",
)
@click.option("--metrics", type=click.Path(path_type=Path), help="Figures per frame: .csv, .jsonl, .parquet.")
@click.option("--roi", "rois", type=RoiType(), multiple=True, help="A region with a score.")
@click.option("--overlay", type=click.Choice(KINDS), help="What is drawn.  [default: peaking]")
@click.option(
    "--smoothing",
    type=SmoothingType(),
    help="Of maps in time; look-ahead shows the picture so many frames later (5), seconds "
    "are a fixed time constant.  [default: adaptive]",
)
@refine_option("fast")
@click.option("--preset", metavar="NAME|FILE", help="Settings that the viewer saved; options go first.")
@click.option(
    "--takes",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the window's recordings and snapshots go.  [default: your videos]",
)
@click.option(
    "--camera-mode",
    "mode",
    type=CameraModeType(),
    help="What to ask the camera for, e.g. 1280x720@30.  [default: its own choice]",
)
@click.option(
    "--retry-for",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Give up a lost source after this; default: never, once it gave a picture.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Stop so long after the first picture.",
)
@click.option("--allow-web", is_flag=True, help="Take http and https addresses.")
@click.option("--allow-still", is_flag=True, help="The very same picture for long is no fault.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
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
    """Live focus from SOURCE in a window: a camera's number, name or id, an address, a file, or test.

    Without SOURCE it is camera 0.

    Only the newest frame counts: what cannot be computed in time is dropped, and counted. A source that
    stalls, freezes or goes is opened again and again; the recording goes on where it comes back. In the
    window, ? shows every key.
    """
    settings = _settings(preset, options)
    allowed = LiveOptions(mode, retry_for, allow_web=allow_web, allow_still=allow_still)

    def sinks(info: SourceInfo, now: Callable[[], ViewSettings]) -> list[FileSink]:
        return _sinks(info, record, metrics, now, overwrite=force)

    if headless:
        if takes is not None:
            raise SettingsError("--takes is for the window: with --headless, use --record")
        return _headless(open_live(source, allowed), settings, sinks, duration, as_json=as_json)
    if as_json:
        raise SettingsError("--json needs --headless")
    check_live(source, allowed)
    _refuse_input(record, source)
    folder = takes or default_folder()

    def plain(info: SourceInfo, now: Callable[[], ViewSettings]) -> list[FileSink]:
        """The recorder's time is its own, so a file's sound would not fit."""
        return sinks(SourceInfo(info.name, rate=info.rate, live=True), now)

    return _in_window(Start(source, settings, folder, allowed, sinks=plain, duration=duration))


def _refuse_input(record: Path | None, source: str) -> None:
    """A recording that begins when it likes is no copy of a file, and must not replace it."""
    if record is not None and record.exists() and Path(source).is_file() and record.samefile(source):
        raise SinkError(f"{record}: that is the input; choose another name")


def _settings(preset: str | None, options: dict[str, Any]) -> ViewSettings:
    """The preset's, with what was given on the command line in its place."""
    settings = load_preset(preset_path(preset)) if preset else ViewSettings()
    return replace(settings, **given(options))


Sinks = Callable[[SourceInfo, Callable[[], ViewSettings]], list[FileSink]]


def _sinks(
    info: SourceInfo,
    record: Path | None,
    metrics: Path | None,
    now: Callable[[], ViewSettings],
    *,
    overwrite: bool,
) -> list[FileSink]:
    """What ``--record`` and ``--metrics`` ask for."""

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
            if signals.code is not None:  # asked while the window was made
                close()

        ended = open_viewer(start, ready)
    if not ended:  # a driver's call that never returns must not keep the process
        sys.stderr.flush()
        os._exit(signals.code or 0)
    return signals.code or 0


def _headless(
    source: Source, settings: ViewSettings, sinks: Sinks, duration: float | None, *, as_json: bool
) -> int:
    engine = Engine(settings)
    with StopSignals(asked=source.close) as signals:
        pipeline = Pipeline(source, engine, settings.smoothing, refine=settings.refine)
        try:
            lost = _run(source, pipeline, sinks(source.info, lambda: settings), duration)
        finally:
            for notice in (*source.notices, *engine.notices):
                say(notice)
    if as_json:
        click.echo(json.dumps(_entry(source, pipeline.stats, engine)))
    if lost is not None:
        raise lost
    return signals.code or 0


def _run(
    source: Source, pipeline: Pipeline, sinks: list[FileSink], duration: float | None
) -> LostError | None:
    """Until the source ends, is lost, or ``duration`` is over; what was recorded is kept in each case."""
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        try:
            with pipeline, _Hud(source, pipeline):
                for number, result in enumerate(pipeline):
                    if duration is not None and number == 0:  # a first run converts the model before
                        stack.enter_context(_ended_after(duration, source))
                    for sink in sinks:
                        sink.write(result)
        except LostError as error:
            return error
    return None


@contextmanager
def _ended_after(seconds: float, source: Source) -> Iterator[None]:
    """Close ``source`` when the time is over, whatever it is doing then."""
    timer = threading.Timer(seconds, source.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _entry(source: Source, stats: Statistics, engine: Engine) -> dict[str, Any]:
    """What ``--json`` says."""
    return {
        "source": source.info.name,
        "frames": stats.results,
        "frames_per_second": round(stats.per_second, 2),
        "dropped": stats.dropped,
        "reopened": source.status.reopened if isinstance(source, ReconnectingSource) else 0,
        "damaged": source.damaged,
        "repaired_timestamps": source.repaired_timestamps,
        "age_ms": {"p50": round(stats.age_p50 * 1e3, 1), "p95": round(stats.age_p95 * 1e3, 1)},
        "model": engine.info.name,
        "device": engine.device,
        "reference_px": engine.reference.rounded,
    }


class _Hud:
    """A status line on stderr now and then, and at every change of the source's state."""

    def __init__(self, source: Source, pipeline: Pipeline) -> None:
        self._source, self._pipeline = source, pipeline
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="hud", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        shown, said = time.monotonic(), ""
        while not self._over.wait(0.2):
            state, text = self._state()
            now = time.monotonic()
            if state != said or now - shown >= HUD_SECONDS:
                shown, said = now, state
                print(f"{self._source.info.name}: {text}", file=sys.stderr, flush=True)

    def _state(self) -> tuple[str, str]:
        """The state alone, and the whole line."""
        stats = self._pipeline.stats
        figures = (
            f"{stats.per_second:.1f} frames/s, {stats.dropped} dropped, age "
            f"{stats.age_p50 * 1e3:.0f}/{stats.age_p95 * 1e3:.0f} ms (p50/p95)"
        )
        if not isinstance(self._source, ReconnectingSource):
            return State.RUNNING, figures
        status = self._source.status
        if status.damaged:
            figures += f", {status.damaged} damaged"
        if status.state is State.RUNNING:
            return status.state, figures
        minutes, seconds = divmod(int(time.monotonic() - status.since), 60)
        text = f"{status.state.upper()} {minutes:02}:{seconds:02}"
        return status.state, f"{text} {status.reason}".rstrip()
