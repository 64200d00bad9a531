"""``br2focus live``: a camera, a stream or the built-in test, with what is in focus, as it happens."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from br2focus.realtime.camera import Camera
from br2focus.realtime.engine import Engine, EngineSettings
from br2focus.realtime.errors import LostError, SettingsError
from br2focus.realtime.focus_pull import FocusPull
from br2focus.realtime.frame import FocusResult, Image, Roi
from br2focus.realtime.metrics_file import Metrics
from br2focus.realtime.overlay import KINDS, OverlayKind, OverlayStyle, draw
from br2focus.realtime.paced import Paced
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.sink import Sink
from br2focus.realtime.smoothing import Smoothing
from br2focus.realtime.source import Source
from br2focus.realtime.stats import Snapshot
from br2focus.realtime.stream import Stream, check_address, is_url, redacted
from br2focus.realtime.supervised import Patience, State, Supervised
from br2focus.realtime.video_file import VideoFile
from br2focus.realtime.video_writer import VideoWriter

from .options import RoiType, SmoothingType, engine_options, report_options
from .progress import StopSignals

HUD_SECONDS = 5.0


@click.command("live", epilog="Example: br2focus live test --headless --record take.mp4")
@click.argument("source", default="0")
@click.option("--headless", is_flag=True, help="Without a window: status lines on stderr.")
@click.option("--record", type=click.Path(path_type=Path), help="Write the annotated video.")
@click.option(
    "--metrics", type=click.Path(path_type=Path), help="Figures per frame: .csv, .jsonl, .parquet."
)
@click.option("--roi", "rois", type=RoiType(), multiple=True, help="A region in --metrics.")
@click.option("--overlay", type=click.Choice(KINDS), default="peaking", show_default=True,
              help="What is drawn into the recording.")  # fmt: skip
@click.option("--smoothing", type=SmoothingType(), default="0.1", show_default=True,
              help="Time constant of the smoothing of maps.")  # fmt: skip
@click.option("--retry-for", type=click.FloatRange(0), metavar="SECONDS",
              help="Give up a lost source after this; default: never, once it gave a picture.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Stop so long after the first picture.")  # fmt: skip
@click.option("--allow-web", is_flag=True, help="Take http and https addresses.")
@click.option("--allow-still", is_flag=True, help="The very same picture for long is no fault.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@engine_options
@report_options
def command(
    source: str, headless: bool, record: Path | None, metrics: Path | None, rois: tuple[Roi, ...],
    overlay: OverlayKind, smoothing: float | None, retry_for: float | None, duration: float | None,
    allow_web: bool, allow_still: bool, force: bool, model: str, device: str, size: int | None, as_json: bool,
    debug: bool,
) -> int:  # fmt: skip
    """Live focus from SOURCE: a camera's number, name or id, an address, a file, or test.

    Only the newest frame counts: what cannot be computed in time is dropped, and counted. A source that
    stalls, freezes or goes is opened again and again; the recording goes on where it comes back.
    """
    if not headless:
        raise SettingsError("the window is not built yet: add --headless")
    engine = Engine(EngineSettings(model=model, device=device, size=size))
    opened = open_source(source, retry_for=retry_for, allow_web=allow_web, allow_still=allow_still)

    def render(result: FocusResult) -> Image:
        return draw(result, overlay, OverlayStyle(), engine.info.name)

    make: list[Callable[[], Sink]] = []
    if metrics is not None:
        make.append(lambda: Metrics(metrics, rois, overwrite=force))
    if record is not None:
        make.append(lambda: VideoWriter(record, opened.info, render=render, overwrite=force))
    smooth = Smoothing(smoothing) if smoothing else None
    with StopSignals(asked=opened.close) as signals:
        stats, lost = _run(opened, engine, smooth, make, duration)
    if as_json:
        click.echo(json.dumps(_entry(opened, stats, engine)))
    if lost is not None:
        raise lost
    return signals.code or 0


def open_source(
    text: str, *, retry_for: float | None, allow_web: bool, allow_still: bool
) -> Source:
    """The live source that ``text`` names.

    Raises:
        SettingsError: an address that is not allowed.
        SourceError: a file that is no video.
    """
    patience = Patience(retry_for=retry_for, frozen=None if allow_still else Patience.frozen)
    if text == "test":
        return FocusPull()
    if is_url(text):
        check_address(text, allow_web=allow_web)
        name = redacted(text)
        return Supervised(lambda: Stream(text, allow_web=allow_web), name, patience)
    path = Path(text)
    if path.is_file() or ((path.suffix or len(path.parts) > 1) and path.parts[:2] != ("/", "dev")):
        return Paced(VideoFile(path))
    return Supervised(_same_camera(text), f"camera {text}", patience)


def _same_camera(text: str) -> Callable[[], Source]:
    """Opens the camera ``text``, and that very one again: its number may go to another."""
    wanted = [text]

    def opened() -> Camera:
        camera = Camera(wanted[0])
        wanted[0] = camera.camera.id or text
        return camera

    return opened


def _run(
    source: Source, engine: Engine, smoothing: Smoothing | None,
    make: list[Callable[[], Sink]], duration: float | None,
) -> tuple[Snapshot, LostError | None]:  # fmt: skip
    """Until the source ends, is lost, or ``duration`` is over; what was recorded is kept in each case."""
    lost = None
    with ExitStack() as stack:
        sinks = [stack.enter_context(sink()) for sink in make]
        pipeline = Pipeline(source, engine, smoothing)
        try:
            with pipeline, _Hud(source, pipeline):
                for number, result in enumerate(pipeline):
                    if (
                        duration is not None and number == 0
                    ):  # a first run converts the model before
                        stack.enter_context(_ended_after(duration, source))
                    for sink in sinks:
                        sink.write(result)
        except LostError as error:
            lost = error
    return pipeline.stats, lost


@contextmanager
def _ended_after(seconds: float, source: Source) -> Iterator[None]:
    """Close ``source`` when the time is over, whatever it is doing then."""
    timer = threading.Timer(seconds, source.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _entry(source: Source, stats: Snapshot, engine: Engine) -> dict[str, Any]:
    """What ``--json`` says."""
    return {
        "source": source.info.name,
        "frames": stats.results,
        "frames_per_second": round(stats.per_second, 2),
        "dropped": stats.dropped,
        "reopened": source.status.reopened if isinstance(source, Supervised) else 0,
        "age_ms": {"p50": round(stats.age_p50 * 1e3, 1), "p95": round(stats.age_p95 * 1e3, 1)},
        "model": engine.info.name,
        "device": engine.device,
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
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
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
        if not isinstance(self._source, Supervised):
            return State.RUNNING, figures
        status = self._source.status
        if status.damaged:
            figures += f", {status.damaged} damaged"
        if status.state is State.RUNNING:
            return status.state, figures
        minutes, seconds = divmod(int(time.monotonic() - status.since), 60)
        text = f"{status.state.upper()} {minutes:02}:{seconds:02}"
        return status.state, f"{text} {status.reason}".rstrip()
