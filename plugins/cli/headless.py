"""``br2focus live --headless``: sinks and a status line instead of a window."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import click

from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import LostError
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sources.live.connection import State
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.stats import Statistics
from br2focus.realtime.video_info import SourceInfo

from .exits import say
from .progress import StopSignals

HUD_SECONDS = 5.0
# Creates the sinks of a run from the info of its source and a function that returns the current settings.
Sinks = Callable[[SourceInfo, Callable[[], ViewSettings]], list[FileSink]]


def run_headless(
    source: Source, settings: ViewSettings, sinks: Sinks, duration: float | None, *, as_json: bool
) -> int:
    """Run until the source ends or ``duration`` is over, and return the exit code.

    Raises:
        FocusError: the source is lost, or an output cannot be written.
    """
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
    """Run until the source ends, is lost, or ``duration`` is over; in each case, recordings are kept."""
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        try:
            with pipeline, _Hud(source, pipeline):
                for number, result in enumerate(pipeline):
                    if duration is not None and number == 0:  # a first run converts the model first
                        stack.enter_context(_ended_after(duration, source))
                    for sink in sinks:
                        sink.write(result)
        except LostError as error:
            return error
    return None


@contextmanager
def _ended_after(seconds: float, source: Source) -> Iterator[None]:
    """Close ``source`` after ``seconds``, whatever it is doing then."""
    timer = threading.Timer(seconds, source.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _entry(source: Source, stats: Statistics, engine: Engine) -> dict[str, Any]:
    """Return the entry for ``--json``."""
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
    """Prints a status line to stderr now and then, and whenever the state of the source changes."""

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
        shown_at, last_state = time.monotonic(), ""
        while not self._over.wait(0.2):
            state, text = self._state()
            now = time.monotonic()
            if state != last_state or now - shown_at >= HUD_SECONDS:
                shown_at, last_state = now, state
                print(f"{self._source.info.name}: {text}", file=sys.stderr, flush=True)

    def _state(self) -> tuple[str, str]:
        """Return the state and the whole status line."""
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
