"""Timing of the steps around the network, and of common blur measures."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import av
import av.filter
import numpy as np

from br2focus.models.evaluation import classical
from br2focus.models.sizes import network_size
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.backends import shrink
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.overlay_style import OverlayStyle
from br2focus.realtime.result import FocusResult, Timing
from br2focus.realtime.smoothing.adaptive import AdaptiveSmoother
from br2focus.realtime.smoothing.look_ahead import LookAheadSmoother

from .backends import once
from .machine import Times, in_turns, milliseconds


def stages(
    engine: Engine, image: Image, seconds: float
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Time every stage of a frame in milliseconds, and compare `FocusStage` with its parts."""
    height, width = image.shape[:2]
    backend = engine.warm((width, height))
    size = network_size((width, height), engine.size)
    # On a CPU the resize is a separate stage; a network with detail evidence needs the frame.
    alone = engine.device.startswith("cpu") and engine.info.config.detail == "none"
    image_in = shrink(image, size) if alone else image
    frame = Frame(image, 0, 0, Fraction(1, 30), 0.0)
    blur = engine.start(image)()
    result = FocusResult(frame, blur.at((width, height)), Timing(0, 0, 0, 0, 0, 0))
    adaptive, look_ahead = AdaptiveSmoother(), LookAheadSmoother()
    count = iter(range(1, sys.maxsize))
    style = OverlayStyle()

    def at(index: int) -> Frame:
        return replace(frame, index=index, pts=index)

    jobs: dict[str, Callable[[], object]] = {
        "preprocess": lambda: shrink(image, size),
        "network": partial(once, backend, image_in),
        "to frame size": lambda: blur.at((width, height)),
        "smoothing": lambda: adaptive.add(at(next(count)), blur),
        "look-ahead": lambda: look_ahead.add(at(next(count)), blur),
        "refine fast": lambda: refine(image, blur, "fast"),
        "refine best": lambda: refine(image, blur, "best"),
        "overlay peaking": lambda: draw(result, "peaking", style),
        "overlay heat": lambda: draw(result, "heat", style),
    }
    asked = engine.settings
    with FocusStage(
        asked.model,
        device=asked.device,
        size=asked.size,
        backend=asked.backend,
        precision=asked.precision,
        compiled=asked.compiled,
    ) as stage:
        jobs["bare call"] = lambda: engine.start(image)().at((width, height))
        jobs["FocusStage"] = lambda: stage(image)
        times: Times = in_turns(jobs, seconds)
    bare, whole = (statistics.median(times.pop(name)) for name in ("bare call", "FocusStage"))
    stage_costs = {
        "bare_ms": round(1e3 * bare, 2),
        "focus_stage_ms": round(1e3 * whole, 2),
        "ratio": round(whole / bare, 3),
    }
    return {name: milliseconds(spent) for name, spent in times.items()}, stage_costs


def peers(image: Image, seconds: float) -> dict[str, dict[str, float]]:
    """Time common blur measures on the same picture, in milliseconds per frame."""
    blurdetect = _blurdetect(image)
    jobs: dict[str, Callable[[], object]] = {
        "Laplacian variance, 21 px": lambda: classical.laplacian(image),
        "sum-modified Laplacian, 21 px": lambda: classical.sum_modified_laplacian(image),
        "Tenengrad, 21 px": lambda: classical.tenengrad(image),
        "LBP, 21 px": lambda: classical.lbp(image),
        "FFmpeg blurdetect (one number a frame)": blurdetect,
    }
    return {name: milliseconds(spent) for name, spent in in_turns(jobs, seconds).items()}


def _blurdetect(image: Image) -> Callable[[], object]:
    """Return FFmpeg's filter applied to one frame as yuv420p; it reads only the luma."""
    height, width = image.shape[:2]
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 30)
    )
    detect, sink = graph.add("blurdetect"), graph.add("buffersink")
    source.link_to(detect)
    detect.link_to(sink)
    graph.configure()
    frame = av.VideoFrame.from_ndarray(np.asarray(image), format="bgr24").reformat(format="yuv420p")
    frame.time_base = Fraction(1, 30)
    count = iter(range(sys.maxsize))

    def run() -> object:
        frame.pts = next(count)
        graph.push(frame)
        return graph.pull()

    return run
