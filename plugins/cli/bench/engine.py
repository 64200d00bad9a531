"""Measurements of ``br2focus bench engine``: the network on every backend, the stages, other measures."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.sizes import network_size
from br2focus.realtime.engine.backends import shrink
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Image, Values
from br2focus.realtime.sources.live.test_source import FocusPullSource

from .backends import all_backends, once, throughput
from .machine import ceiling, in_turns, machine, milliseconds
from .stages import peers, stages

PLAIN = "plain torch fp32"
# Arithmetic -> the arithmetic of its ceiling; there is none for INT8.
CEILINGS = {"bf16": "bf16", "int8": "bf16", "fp16": "fp16"}


def measure(settings: EngineSettings, picture: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Return the report (see ``docs/speed.md``); ``settings.compiled`` adds compiled networks.

    Args:
        settings: the engine to measure.
        picture: width and height of the frame.
        seconds: time spent on each of the three tables.

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
    # A network without detail evidence needs only the small picture: the resize is a separate stage.
    image_in = shrink(image, size) if info.config.detail == "none" else image
    report["network"] = _network(engine, net, info, image_in, size, seconds, report)
    report["stages_ms"], report["stage"] = stages(engine, image, seconds)
    report["peers_ms"] = peers(image, seconds)
    report["chosen"] = engine.device
    return report


def multiply_adds(
    net: BR2Net, info: ModelInfo, size: tuple[int, int], frame: tuple[int, int]
) -> dict[str, float]:
    """Count the multiply-adds of one map in 10^9 with `FlopCounterMode`, for the plain and the fast form.

    Args:
        net, info: the network.
        size: width and height of its input.
        frame: width and height of the frame, which a network with ``detail`` reads.
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


def _plain_network(
    net: BR2Net, info: ModelInfo, device: str, size: tuple[int, int]
) -> Callable[[Image], Values]:
    """Return the network as in its formulas: eager, float32, contiguous, upsampled before convolutions."""
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
    plain = _plain_network(net, info, device, size)
    backends = all_backends(engine, frame, size, device)
    runs: dict[str, Callable[[], Values]] = {PLAIN: partial(plain, image)}
    runs |= {name: partial(once, backend, image) for name, backend in backends.items()}
    if engine.settings.compiled and device == "cpu" and info.config.detail == "none":
        runs |= _compiled(engine, image)
    exact = runs[PLAIN]()
    differences = {name: np.abs(run() - exact) for name, run in runs.items()}
    times = in_turns(runs, seconds)
    for backend in backends.values():
        backend.close()
    per_second = throughput(engine, image, size, device)
    rows = []
    for name, spent in times.items():
        median = statistics.median(spent)
        arithmetic = next((kind for kind in CEILINGS if kind in name), "fp32")
        top = report["ceiling"][f"{CEILINGS.get(arithmetic, 'fp32')}_gmac_per_s"]
        macs = report["gmac"]["plain" if name == PLAIN else "fast"]
        rows.append(
            {
                "way": name,
                **milliseconds(spent),
                "maps_per_s": round(1 / median, 1),
                "maps_per_s_in_flight": per_second.get(name),
                "times_plain": round(statistics.median(times[PLAIN]) / median, 2),
                "share_of_ceiling": round(macs / median / top, 3),
                "largest_difference": float(f"{differences[name].max():.2g}"),
                "mean_difference": float(f"{differences[name].mean():.2g}"),
            }
        )
    return rows


def _compiled(engine: Engine, small: Image) -> dict[str, Callable[[], Values]]:
    """Return the fast form under `torch.compile`, which compiles on the first call."""
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
