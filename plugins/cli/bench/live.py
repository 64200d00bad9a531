"""Measurements of ``br2focus bench live``: the viewer, or the pipeline alone, on a paced source."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from br2focus.plugins.cli.options import size_of
from br2focus.plugins.qt import prepare_qt
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.live.test_source import FocusPullSource
from br2focus.realtime.stats import Statistics

WARM_UP = 2.0  # seconds, not counted
SAMPLES = 100  # of memory use
SETTLING = 0.6  # share of the soak that the slope ignores: histories that span seconds fill up first
FASTEST = Fraction(1000)  # pictures per second during the soak: a new one is always ready


@dataclass(frozen=True)
class BackgroundLoad:
    """What the source delivers, and for how long.

    Attributes:
        size: width and height.
        rate: pictures per second.
        seconds: how long to measure.
        soak: number of frames to run at full speed.
    """

    size: tuple[int, int]
    rate: Fraction
    seconds: float
    soak: int

    @classmethod
    def of(cls, picture: str, rate: float, seconds: float, soak: int) -> BackgroundLoad:
        """Build from an option's text such as "640x480".

        Raises:
            SettingsError: the text has another form.
        """
        width, height = size_of(picture)
        return cls((width, height), Fraction(rate).limit_denominator(1001), seconds, soak)


class Watch:
    """Observes a run: discards the warm-up, samples memory, and tells when the run is over."""

    def __init__(self, load: BackgroundLoad) -> None:
        self._load = load
        self._first: tuple[float, int, int] | None = None
        self._last = (0.0, 0, 0)
        self._memory: list[tuple[int, int]] = []
        self._begun = 0.0

    def paced_over(self, stats: Statistics, reset: Callable[[], None]) -> bool:
        """Record the statistics of the paced part, without the warm-up; True when its time is over."""
        now = time.monotonic()
        if stats.results == 0:
            return False
        self._begun = self._begun or now
        if self._first is None:
            if now - self._begun < WARM_UP:
                return False
            reset()
            self._first = (now, 0, stats.dropped)
            return False
        self._last = (now, stats.results, stats.dropped)
        return now - self._first[0] >= self._load.seconds

    def soak_over(self, stats: Statistics, reset: Callable[[], None]) -> bool:
        """Sample memory during the soak; True after its last frame."""
        results = stats.results
        if not self._memory or results - self._memory[-1][0] >= self._load.soak / SAMPLES:
            self._memory.append((results, resident_bytes()))
        return results >= self._load.soak

    @property
    def per_second(self) -> float:
        """Results per second in the paced part."""
        assert self._first is not None
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])

    @property
    def dropped(self) -> int:
        """Frames dropped in the paced part."""
        assert self._first is not None
        return self._last[2] - self._first[2]

    @property
    def slope(self) -> float | None:
        """Memory growth in bytes per frame: a line fit after the settling; None with too few samples."""
        kept = [sample for sample in self._memory if sample[0] >= SETTLING * self._load.soak]
        if len(kept) < 3:
            return None
        frames, memory = np.array(kept, np.float64).T
        return float(np.polyfit(frames, memory, 1)[0])


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def measure(load: BackgroundLoad, settings: EngineSettings, *, headless: bool) -> dict[str, Any]:
    """Return the report of `bench live`.

    Raises:
        FocusError: the engine or the window cannot run.
    """
    view = ViewSettings(**asdict(settings))
    source = FocusPullSource(*load.size, rate=load.rate)
    source.render_all()
    watch, run = Watch(load), _in_pipeline if headless else _in_window
    stats, computes = run(source, view, watch.paced_over)
    if load.soak:
        run(source.again(FASTEST), view, watch.soak_over)
    model, _, device = computes.partition(" on ")
    return {
        "source": f"{load.size[0]} x {load.size[1]} at {float(load.rate):g}/s",
        "model": model,
        "device": device,
        "shown": "no window" if headless else f"window ({_platform()})",
        "frames_per_second": round(watch.per_second, 2),
        "dropped": watch.dropped,
        "age_ms": {
            "p50": round(stats.age_p50 * 1e3, 1),
            "p95": round(stats.age_p95 * 1e3, 1),
            "smoothing": round(stats.smoothing_delay * 1e3, 1),
        },
        "stages_ms": {name: round(spent * 1e3, 2) for name, spent in stats.stages.items()},
        "memory_slope_bytes_per_frame": None if watch.slope is None else round(watch.slope, 1),
    }


Over = Callable[[Statistics, Callable[[], None]], bool]


def _in_pipeline(source: FocusPullSource, view: ViewSettings, over: Over) -> tuple[Statistics, str]:
    engine = Engine(view)
    with Pipeline(source, engine, view.smoothing, refine=view.refine) as pipeline:
        for _ in pipeline:
            if over(pipeline.stats, pipeline.reset_figures):
                break
    return pipeline.stats, f"{engine.info.name} on {engine.device}"


def _in_window(source: FocusPullSource, view: ViewSettings, over: Over) -> tuple[Statistics, str]:
    prepare_qt()
    from br2focus.plugins.qt.bench import run_window

    return run_window(source, view, over)


def _platform() -> str:
    from br2focus.plugins.qt.bench import platform

    return platform()
