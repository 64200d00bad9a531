"""What ``br2focus bench engine`` measures: the network every spec it runs here, the stages, and the peers."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import av
import av.filter
import cv2
import numpy as np

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.evaluation import classical
from br2focus.models.sizes import network_size
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.backends import Backend, shrink
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.selection import BackendSpec, available_backends
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Frame, Image, Values
from br2focus.realtime.overlay_style import OverlayStyle
from br2focus.realtime.result import FocusResult, Timing
from br2focus.realtime.smoothing.adaptive import AdaptiveSmoother
from br2focus.realtime.smoothing.look_ahead import LookAheadSmoother
from br2focus.realtime.sources.live.test_source import FocusPullSource

from .bench_machine import Times, ceiling, in_turns, machine, milliseconds

PLAIN = "plain torch fp32"
IN_FLIGHT = 3
ALIKE = {
    "bf16": "bf16",
    "int8": "bf16",
    "fp16": "fp16",
}  # ceiling of an arithmetic; there is none for int8


def measure(settings: EngineSettings, picture: tuple[int, int], seconds: float) -> dict[str, Any]:
    """The report: see ``docs/speed.md``. With ``settings.compiled`` what is compiled is measured too.

    Args:
        picture: width and height of the frame.
        seconds: spent on each of the three tables.

    Raises:
        FocusError: the model or the device cannot be used.
    """
    engine = Engine(settings)
    device = engine.device
    image = FocusPullSource(*picture).truth(0).image
    size = network_size(picture, engine.size)
    net, info = checkpoint.load(checkpoint.find(settings.model)[0])
    report: dict[str, Any] = {
        "machine": machine(device),
        "ceiling": ceiling(device),
        "model": info.name,
        "device": device,
        "picture": f"{picture[0]}x{picture[1]}",
        "map": f"{size[0]}x{size[1]}",
        "gmac": multiply_adds(net, info, size, picture),
    }
    # Without evidence the network needs the small picture alone: the resize is a stage of its own.
    image_in = shrink(image, size) if info.config.detail == "none" else image
    report["network"] = _network(engine, net, info, image_in, size, seconds, report)
    report["stages_ms"], report["stage"] = _stages(engine, image, seconds)
    report["peers_ms"] = _peers(image, seconds)
    report["chosen"] = engine.device
    return report


def multiply_adds(
    net: BR2Net, info: ModelInfo, size: tuple[int, int], frame: tuple[int, int]
) -> dict[str, float]:
    """10^9 multiply-adds of one map, as the formulas say and in the fast form (`FlopCounterMode` counts).

    Args:
        net, info: the network.
        size: width and height of its picture.
        frame: of the frame, which a network with ``detail`` looks at.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from br2focus.models.fast_detail import inference_net
    from br2focus.models.limits import frame_ratio

    width, height = size
    fast = inference_net(net, info.scale, frame_ratio(frame, size))
    detail = info.config.detail != "none"
    luma = torch.zeros((1, frame[1], frame[0]), dtype=torch.uint8)
    pictures = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    jobs: dict[str, Callable[[], object]] = {
        "plain": lambda: net(torch.zeros(1, 3, height, width), [luma.float()]),
        "fast": lambda: fast(*([pictures, luma] if detail else [pictures])),
    }
    found = {}
    for name, job in jobs.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            job()
        found[name] = round(counter.get_total_flops() / 2e9, 3)
    return found


def _plainly(net: BR2Net, info: ModelInfo, device: str, size: tuple[int, int]) -> Callable[[Image], Values]:
    """The network as its formulas stand: eager, float32, contiguous, upsampled before the convolutions."""
    import torch

    net = net.to(device)
    mean, std = (
        torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (info.scale.mean, info.scale.std)
    )

    def run(image: Image) -> Values:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(shrink(image, size))).to(device)[None]
            x = (pixels.flip(-1).permute(0, 3, 1, 2) / 255 - mean) / std
            luma = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)).to(device)[None]
            maps = net(x.contiguous(), [luma.float()])
            if maps.blur is None:
                return np.asarray(torch.sigmoid(maps.fused)[0, 0].cpu())
            softness = maps.blur.log_softness[:, None, None, None].expand_as(maps.blur.gain)
            return np.asarray(torch.cat([*maps.blur[:2], softness], 1)[0].cpu())

    return run


def _backends(
    engine: Engine, frame: tuple[int, int], size: tuple[int, int], device: str, *, depth: int = 1
) -> dict[str, Backend]:
    """Every spec to run the network here, by its name."""
    if device != "cpu":
        return _cuda_backends(engine, frame, size, device)
    possible = list(available_backends("auto", "auto", calibrated=bool(engine.info.ranges)))
    possible += [BackendSpec("torch", "fp32"), BackendSpec("torch", "bf16")]
    return {spec.name: engine.factory.on_cpu(spec, frame, depth=depth) for spec in possible}


def _cuda_backends(
    engine: Engine, frame: tuple[int, int], size: tuple[int, int], device: str
) -> dict[str, Backend]:
    import torch

    from br2focus.realtime.engine.backends.cuda import CudaBackend, CudaNet

    nets = [
        CudaNet(engine.factory.net(frame), device),
        CudaNet(engine.factory.net(frame), device, dtype=torch.float32),
    ]
    if engine.settings.compiled:
        nets.append(CudaNet(engine.factory.net(frame), device, compiled=True))
    found: dict[str, Backend] = {f"{n.name} graph": CudaBackend(n, frame, size) for n in nets}
    found[f"{nets[0].name} eager"] = CudaBackend(nets[0], frame, size, graph=False)
    return found


def _network(
    engine: Engine,
    net: BR2Net,
    info: ModelInfo,
    image: Image,
    size: tuple[int, int],
    seconds: float,
    report: dict[str, Any],
) -> list[dict[str, Any]]:
    device = engine.device
    frame = (image.shape[1], image.shape[0])
    plainly = _plainly(net, info, device, size)
    backends = _backends(engine, frame, size, device)
    runs: dict[str, Callable[[], Values]] = {PLAIN: partial(plainly, image)}
    runs |= {name: partial(_once, backend, image) for name, backend in backends.items()}
    if engine.settings.compiled and device == "cpu" and info.config.detail == "none":
        runs |= _compiled(engine, image)
    exact = runs[PLAIN]()
    differences = {name: np.abs(run() - exact) for name, run in runs.items()}
    times = in_turns(runs, seconds)
    for backend in backends.values():
        backend.close()
    throughput = _throughput(engine, image, size, device)
    rows = []
    for name, spent in times.items():
        median = statistics.median(spent)
        arithmetic = next((kind for kind in ALIKE if kind in name), "fp32")
        top = report["ceiling"][f"{ALIKE.get(arithmetic, 'fp32')}_gmac_per_s"]
        macs = report["gmac"]["plain" if name == PLAIN else "fast"]
        rows.append(
            {
                "spec": name,
                **milliseconds(spent),
                "maps_per_s": round(1 / median, 1),
                "maps_per_s_in_flight": throughput.get(name),
                "times_plain": round(statistics.median(times[PLAIN]) / median, 2),
                "share_of_ceiling": round(macs / median / top, 3),
                "largest_difference": float(f"{differences[name].max():.2g}"),
                "mean_difference": float(f"{differences[name].mean():.2g}"),
            }
        )
    return rows


def _once(backend: Backend, picture: Image) -> Values:
    return backend.start(picture)()


def _compiled(engine: Engine, small: Image) -> dict[str, Callable[[], Values]]:
    """`torch.compile` of the fast form, made on the first call."""
    import torch

    def job(dtype: torch.dtype) -> Callable[[], Values]:
        net = engine.factory.net().to(dtype).to(memory_format=torch.channels_last)
        compiled = torch.compile(net)
        pixels = torch.from_numpy(np.array(small))[None]

        def run() -> Values:
            with torch.inference_mode():
                return np.asarray(compiled(pixels)[0].float())

        return run

    return {
        "torch.compile fp32": job(torch.float32),
        "torch.compile bf16": job(torch.bfloat16),
    }


def _throughput(engine: Engine, image: Image, size: tuple[int, int], device: str) -> dict[str, float]:
    """Maps a second with `IN_FLIGHT` frames in flight, where a backend takes that many."""
    found = {}
    frame = (image.shape[1], image.shape[0])
    for name, backend in _backends(engine, frame, size, device, depth=IN_FLIGHT).items():
        if backend.depth > 1:
            found[name] = round(_streamed(backend, image), 1)
        backend.close()
    return found


def _streamed(backend: Backend, picture: Image, seconds: float = 1.5) -> float:
    waiting = [backend.start(picture) for _ in range(backend.depth - 1)]
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        waiting.append(backend.start(picture))
        waiting.pop(0)()
        done += 1
    rate = done / (time.perf_counter() - begun)
    for finish in waiting:
        finish()
    return rate


def _stages(
    engine: Engine, image: Image, seconds: float
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Milliseconds of every stage of a frame, and what `FocusStage` costs above its parts."""
    height, width = image.shape[:2]
    backend = engine.warm((width, height))
    size = network_size((width, height), engine.size)
    # On a CPU the resize is a stage of its own; with its evidence a network needs the frame.
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
        "network": partial(_once, backend, image_in),
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


def _peers(image: Image, seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of what people measure blur with today, on the same picture."""
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
    """FFmpeg's filter on one frame, as gray pictures: it reads nothing else."""
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
