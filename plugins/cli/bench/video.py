"""Measurements of ``br2focus bench video``: `annotate` compared with the cost of its parts."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from br2focus.models.sizes import network_size
from br2focus.realtime.annotation import annotate, few_threads
from br2focus.realtime.device import cores
from br2focus.realtime.drawing.dispatch import painter, refiner
from br2focus.realtime.drawing.overlay import Paint, draw
from br2focus.realtime.drawing.refining import RefineMode
from br2focus.realtime.engine.backends import shrink
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Image
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.codecs import VideoSettings
from br2focus.realtime.sinks.sink import picture_of
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.smoothing.factory import SmoothingSetting, make_smoother
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.sources.live.test_source import FocusPullSource
from br2focus.realtime.sources.video_file import VideoFile

from .machine import machine

IN_FLIGHT = 3
STAGE = "stage: "
MOST_SECONDS = 10  # of a clip; its frames and maps are kept in memory
SMOOTHING: SmoothingSetting = "look-ahead"  # as in `br2focus annotate`
REFINING: RefineMode = "best"


def measure(
    settings: EngineSettings, clip: Path | None, rounds: int, picture: tuple[int, int] = (1280, 720)
) -> dict[str, Any]:
    """Return the report: wall and CPU milliseconds per frame, for every part alone and for the whole.

    Args:
        settings: the engine to measure.
        clip: a video, of which ten seconds are used; None renders four.
        rounds: number of rounds to take the median of.
        picture: width and height of the rendered clip.

    Raises:
        FocusError: the clip, the model or the device cannot be used.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = clip or _rendered(folder / "pull.mp4", picture)
        with VideoFile(path, duration=MOST_SECONDS) as source:
            images = [frame.image for frame in source]
        engine = Engine(settings)
        jobs: dict[str, Callable[[], object]] = {
            "bare decode": lambda: _decode(path, len(images)),
            "bare network": lambda: _infer(engine, images),
            "bare encode": lambda: _encode(images, folder / "bare.mp4"),
            "annotate, maps alone": lambda: _annotate(path, folder, engine, None, "off"),
            "annotate": lambda: _annotate(path, folder, engine, SMOOTHING, REFINING),
        }
        jobs |= _stages(path, folder, engine, images)
        return _report(_in_turns(jobs, rounds), len(images), images[0], engine)


def _stages(path: Path, folder: Path, engine: Engine, images: list[Image]) -> dict[str, Callable[[], object]]:
    """Return every stage of `annotate` as a separate job; the slowest one limits the whole."""
    refine, paint = refiner(engine), painter(engine)
    with (
        few_threads,
        VideoFile(path, duration=MOST_SECONDS) as source,
        Pipeline(source, engine, SMOOTHING, refine=REFINING) as pipeline,
    ):
        results = [replace(result, drawn=_heat(paint, result)) for result in pipeline]
    smoother = make_smoother(SMOOTHING, threaded=True)
    assert smoother is not None

    def encode() -> None:
        info = VideoFile(path).info
        with VideoWriter(folder / "alone.mp4", info, render=picture_of, overwrite=True) as sink:
            for result in results:
                sink.write(result)

    jobs: dict[str, Callable[[], object]] = {
        "source": partial(_read, path),
        "maps": lambda: _maps(engine, images),
        "smoothing": lambda: [smoother.add(r.frame, r.raw or r.shown) for r in results],
        "refining": lambda: [refine(r.frame.image, r.raw or r.shown, REFINING) for r in results],
        "drawing": lambda: [_heat(paint, result) for result in results],
        "writing": encode,
    }
    stages: dict[str, Callable[[], object]] = {
        f"{STAGE}{name}": partial(_with_few_threads, job) for name, job in jobs.items()
    }
    if engine.gpu is not None:
        stages["source, decoded by the GPU"] = partial(_read, path, engine.gpu)
    return stages


def _read(path: Path, gpu: int | None = None) -> None:
    for _ in VideoFile(path, duration=MOST_SECONDS, gpu=gpu):
        pass


def _with_few_threads(job: Callable[[], object]) -> None:
    with few_threads:
        job()


def _in_turns(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU seconds of each job, after one round that is not counted."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            if number:
                spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return spent


def _report(
    spent: dict[str, list[tuple[float, float]]], frames: int, first: Image, engine: Engine
) -> dict[str, Any]:
    per_frame = {
        name: tuple(1e3 * statistics.median(column) / frames for column in zip(*times, strict=True))
        for name, times in spent.items()
    }
    bare = sum(cpu for name, (_, cpu) in per_frame.items() if name.startswith("bare"))
    most = cores() * 1e3 / bare
    rows = [
        {
            "what": name,
            "wall_ms": round(wall, 2),
            "cpu_ms": round(cpu, 2),
            "frames_per_s": round(1e3 / wall, 1),
            "share_of_most": round(1e3 / wall / most, 3),
        }
        for name, (wall, cpu) in per_frame.items()
    ]
    stages = [wall for name, (wall, _) in per_frame.items() if name.startswith(STAGE)]
    slowest = max(stages) / per_frame["annotate"][0]
    return {
        "machine": machine("cpu" if engine.gpu is None else f"cuda:{engine.gpu}"),
        "model": engine.info.name,
        "device": engine.device,
        "clip": f"{frames} frames of {first.shape[1]}x{first.shape[0]}",
        "most_frames_per_s": round(most, 1),
        "share_of_slowest_stage": round(slowest, 3),
        "rows": rows,
    }


def _rendered(path: Path, picture: tuple[int, int]) -> Path:
    pull = FocusPullSource(*picture)
    _encode([pull.truth(index).image for index in range(len(pull.clip))], path)
    return path


def _decode(path: Path, frames: int) -> None:
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in islice(container.decode(stream), frames):
            frame.to_ndarray(format="bgr24")


def _infer(engine: Engine, images: list[Image]) -> None:
    """Run the network alone on pictures of its own size, with as many in flight as for a file.

    A network that reads whole frames gets whole frames.
    """
    if engine.info.config.detail != "none":
        _maps(engine, images)
        return
    height, width = images[0].shape[:2]
    size = network_size((width, height), engine.size)
    small = [shrink(image, size) for image in images[:: max(1, len(images) // 8)]]
    _maps(engine, [small[i % len(small)] for i in range(len(images))])


def _maps(engine: Engine, images: list[Image]) -> None:
    for _ in engine.stream(Frames(images), IN_FLIGHT):
        pass


def _encode(images: list[Image], path: Path) -> None:
    """Encode with the encoder and the options of `annotate`."""
    encoder = VideoSettings().encoder(path)
    with av.open(path, "w") as container:
        stream = container.add_stream(encoder.name, rate=30, options=encoder.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = encoder.pix_fmt
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _annotate(
    path: Path, folder: Path, engine: Engine, smoothing: SmoothingSetting, mode: RefineMode
) -> None:
    source = VideoFile(path, duration=MOST_SECONDS)
    sink = VideoWriter(folder / "annotated.mp4", source.info, render=picture_of, overwrite=True)
    annotate(
        source,
        engine,
        [sink],
        smoothing=smoothing,
        refine=mode,
        draw=partial(_heat, painter(engine)),
    )


def _heat(paint: Paint, result: FocusResult) -> Image:
    return draw(result, "heat", paint=paint)
