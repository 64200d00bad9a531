"""Measurements on a GPU, with PyTorch alone; called by gpu.sh, which says how.

    python -m benchmarks.measure.gpu --device cuda --out OUT

For each network: equality with the CPU at every kind of size; latency from tensor to tensor against the plain
network; 1080p from host to host; throughput by batch against the matrix product measured here; allocations
per frame; and what the kernels do. ``--device cpu`` runs the same code a few times, as a test of this script,
and compiles nothing.

    python -m benchmarks.measure.gpu --compile standard

This only compiles, into a cache on disk that the next run finds, so that three networks can be compiled in
parallel.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net, without_detail
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig
from br2focus.models.fast import InferenceNet
from br2focus.models.rlrm import Rlrm
from br2focus.models.sizes import network_size
from br2focus.realtime.drawing.overlay import paint
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.backends import Backend, shrink
from br2focus.realtime.engine.backends.cuda import CudaBackend
from br2focus.realtime.engine.backends.cuda_net import CudaNet
from br2focus.realtime.engine.backends.torch_cpu import TorchBackend
from br2focus.realtime.frame import BlurMap, Image
from br2focus.realtime.overlay_style import OverlayStyle

SIDE = 320
SIZES = ((1280, 720), (640, 427), (161, 121), (1920, 1080))
BATCHES = (1, 4, 16, 64)
HD = (1920, 1080)
FRAMES = 100  # for allocations
COMPILED = (1, 64)  # batches
PLAIN = "plain fp32 eager"
KERNELS = 12  # rows of the profile
# For a network without training: with a smaller gain its map is almost flat, and equality says nothing.
GAIN = 64


def picture(size: tuple[int, int], seed: int = 0) -> Image:
    """Return smooth noise, uint8 BGR, with fine noise on its left half: its map has both values."""
    width, height = size
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.float32)
    image = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32)
    image[:, : width // 2] += rng.integers(-80, 81, (height, width // 2, 3))
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))


def _loaded(name: str) -> tuple[BR2Net, ModelInfo]:
    """Load a shipped network without its evidence, which the forms for a GPU do not support yet."""
    net, info = checkpoint.load(checkpoint.find(name)[0])
    plain = without_detail(net)
    return plain, replace(info, config=plain.config)


def networks() -> dict[str, tuple[BR2Net, ModelInfo]]:
    """Return the shipped networks, and the paper's with random weights, which take as long to compute."""
    found = {name: _loaded(name) for name in ("lite", "standard")}
    torch.manual_seed(0)
    config = BR2NetConfig()
    paper = BR2Net(config).eval().requires_grad_(False)
    for unit in paper.modules():
        if isinstance(unit, Rlrm):
            last = unit.body[-1]
            assert isinstance(last, torch.nn.Conv2d)
            last.weight *= GAIN
    with torch.inference_mode():
        middle = paper(torch.rand(1, 3, SIDE, SIDE)).fused.mean()
    assert paper.fuse.bias is not None
    paper.fuse.bias -= middle.item()
    return found | {"paper": (paper, ModelInfo("paper", config, size=SIDE))}


class Bench:
    """The measurements of one device."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"
        self.half = torch.float16 if self.cuda else torch.bfloat16
        self.rounds = 200 if self.cuda else 2
        self._nets: dict[tuple[str, bool], CudaNet] = {}

    def wait(self) -> None:
        """Wait for the work that the device still does."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, job: Callable[[], object], *, rounds: int | None = None) -> dict[str, float]:
        """Return median and 95th percentile of the wall time of a job and everything that it starts."""
        for _ in range(3 if self.cuda else 1):
            job()
        self.wait()
        spent = []
        for _ in range(rounds or self.rounds):
            begun = time.perf_counter()
            job()
            self.wait()
            spent.append(1e3 * (time.perf_counter() - begun))
        return {
            "p50": round(statistics.median(spent), 4),
            "p95": round(float(np.percentile(spent, 95)), 4),
        }

    def pixels(self, count: int) -> Tensor:
        """Return pictures of random values: a GPU computes zeros faster."""
        return torch.randint(256, (count, SIDE, SIDE, 3), device=self.device, dtype=torch.uint8)

    def ceiling(self) -> dict[str, float]:
        """Return 10^9 multiply-adds per second of a matrix product, and GB/s of a copy."""
        side = 8192 if self.cuda else 512
        a = torch.randn(side, side, device=self.device, dtype=self.half)
        product = self.milliseconds(lambda: a @ a, rounds=max(2, self.rounds // 10))["p50"]
        source = torch.ones(1 << (28 if self.cuda else 22), dtype=torch.uint8, device=self.device)
        copied = self.milliseconds(source.clone)["p50"]
        return {
            "half_gmac_per_s": round(side**3 / product / 1e6, 1),
            "copied_gb_per_s": round(source.numel() / copied / 1e6, 1),
        }

    def backend(self, net: BR2Net, info: ModelInfo, frame: tuple[int, int], size: tuple[int, int]) -> Backend:
        """Create a backend as the engine does."""
        if self.cuda:
            return CudaBackend(self.on_device(net, info), frame, size)
        return TorchBackend(InferenceNet(net, info.scale), size, "bf16")

    def on_device(self, net: BR2Net, info: ModelInfo, *, compiled: bool = False) -> CudaNet:
        """Return the network as in the engine; one instance for all parts of the measurement."""
        key = info.name, compiled
        if key not in self._nets:
            fast = InferenceNet(net, info.scale)
            self._nets[key] = CudaNet(fast, str(self.device), dtype=self.half, compiled=compiled)
        return self._nets[key]

    def fast(self, net: BR2Net, info: ModelInfo) -> Callable[[Tensor], Tensor]:
        """Return the network as it runs by default."""
        return self.on_device(net, info).run

    def compiled(self, net: BR2Net, info: ModelInfo) -> Callable[[Tensor], Tensor]:
        """Return the network as it runs with ``--compile``."""
        return self.on_device(net, info, compiled=True).run

    def equality(self, net: BR2Net, info: ModelInfo) -> list[dict[str, Any]]:
        """Return largest and mean difference in P from float32 on the CPU, starting from frames."""
        rows = []
        exact = InferenceNet(net, info.scale)
        for frame in SIZES:
            size = network_size(frame, SIDE)
            image = picture(frame)
            backend = self.backend(net, info, frame, size)
            found = backend.start(image)()
            backend.close()
            rows.append(_compared(f"{frame[0]}x{frame[1]}", exact, shrink(image, size), found))
        if self.cuda:
            image = picture((SIDE, SIDE))
            pixels = torch.from_numpy(image)[None].to(self.device)
            with torch.inference_mode():
                found = self.compiled(net, info)(pixels)[0].float().cpu().numpy()
            rows.append(_compared(f"{SIDE}x{SIDE} compiled", exact, image, found))
        return rows

    def latency(self, net: BR2Net, info: ModelInfo) -> dict[str, Any]:
        """Time the plain network and the fast form, tensor to tensor on the device, batch 1 at 320 x 320."""
        image = torch.rand(1, 3, SIDE, SIDE, device=self.device)
        pixels = self.pixels(1)
        fast, plain = self.fast(net, info), copy.deepcopy(net).to(self.device)
        runs: dict[str, Callable[[], object]] = {
            PLAIN: lambda: plain(image).fused,
            "fast fp16 eager": lambda: fast(pixels),
        }
        with torch.inference_mode():
            if self.cuda:
                runs["plain fp32 graph"] = _captured(lambda: plain(image).fused).replay
                runs["fast fp16 graph"] = _captured(lambda: fast(pixels)).replay
                compiled = self.compiled(net, info)
                runs["compiled fp16 graph"] = _captured(lambda: compiled(pixels)).replay
            found: dict[str, Any] = {name: self.milliseconds(run) for name, run in runs.items()}
        best = min(times["p50"] for times in found.values())
        return {**found, "times_plain": round(found[PLAIN]["p50"] / best, 2)}

    def host_to_host(self, net: BR2Net, info: ModelInfo) -> dict[str, Any]:
        """Time 1080p pictures in host memory to maps in host memory, one at a time, and count allocations."""
        size = network_size(HD, SIDE)
        backend, image = self.backend(net, info, HD, size), picture(HD)
        found: dict[str, Any] = self.milliseconds(lambda: backend.start(image)())
        if self.cuda:
            before = torch.cuda.memory_stats(self.device)["allocation.all.allocated"]
            for _ in range(FRAMES):
                backend.start(image)()
            after = torch.cuda.memory_stats(self.device)["allocation.all.allocated"]
            found["allocations_per_frame"] = (after - before) / FRAMES
        backend.close()
        return found

    def batches(self, net: BR2Net, info: ModelInfo, top: float) -> list[dict[str, Any]]:
        """Return maps per second by batch, and the share of the matrix product's multiply-adds."""
        from torch.utils.flop_counter import FlopCounterMode

        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            InferenceNet(net, info.scale)(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
        macs = counter.get_total_flops() / 2e9
        ways: list[tuple[str, int, Callable[[Tensor], Tensor]]] = [
            ("fast", count, self.fast(net, info)) for count in (BATCHES if self.cuda else BATCHES[:2])
        ]
        if self.cuda:
            ways.append(("compiled", COMPILED[-1], self.compiled(net, info)))
        rows = []
        for way, count, run in ways:
            job: Callable[[], object] = partial(run, self.pixels(count))
            with torch.inference_mode():
                job = _captured(job).replay if self.cuda else job
                ms = self.milliseconds(job, rounds=max(2, self.rounds // 4))["p50"]
            rate = 1e3 * count / ms
            rows.append(
                {
                    "way": way,
                    "batch": count,
                    "ms": ms,
                    "maps_per_s": round(rate, 1),
                    "gmac": round(macs, 2),
                    "share_of_ceiling": round(rate * macs / top, 4),
                }
            )
        return rows

    def frame(self) -> dict[str, Any]:
        """Time refining and overlay at 1080p on the CPU, and on the device from host to host."""
        from br2focus.realtime.drawing.gpu_renderer import GpuRenderer

        gpu = GpuRenderer(str(self.device), print)
        image, style, found = picture(HD), OverlayStyle(), {}
        values = cv2.resize(picture((480, 270))[..., 0] / np.float32(255), (480, 256))
        blur = BlurMap(np.clip(values, 0, 1))
        whole = refine(image, blur, "best").values
        rounds = max(2, self.rounds // 4)
        for mode in ("fast", "best"):
            for where, job in (("CPU", refine), ("device", gpu.refine)):
                run = partial(job, image, blur, mode)
                found[f"refine {mode}, {where}"] = self.milliseconds(run, rounds=rounds)
        for kind in ("heat", "peaking"):
            for where, draw in (("CPU", paint), ("device", gpu.paint)):
                drawn = partial(draw, kind, image, whole, style)
                found[f"{kind}, {where}"] = self.milliseconds(drawn, rounds=rounds)
        return found

    def profile(self, net: BR2Net, info: ModelInfo, out: Path, count: int) -> dict[str, Any]:
        """Return microseconds of a batch by kernel and write a trace: compiled, on the CPU the fast form."""
        from torch.profiler import ProfilerActivity, profile

        pixels, run = self.pixels(count), self.fast(net, info)
        kinds, rounds = ([ProfilerActivity.CUDA], 20) if self.cuda else ([ProfilerActivity.CPU], 2)
        with torch.inference_mode():
            job: Callable[[], object] = partial(run, pixels)
            if self.cuda:
                compiled = self.compiled(net, info)
                job = _captured(lambda: compiled(pixels)).replay
            job()
            with profile(activities=kinds) as profiler:
                for _ in range(rounds):
                    job()
                self.wait()
        profiler.export_chrome_trace(str(out / f"trace-{info.name}-{count}.json.gz"))
        spent = [
            (event.self_device_time_total if self.cuda else event.self_cpu_time_total, event)
            for event in profiler.key_averages()
        ]
        spent = sorted(((us, event) for us, event in spent if us > 0), key=lambda row: -row[0])
        return {
            "us": round(sum(us for us, _ in spent) / rounds, 1),
            "kernels": round(sum(event.count for _, event in spent) / rounds),
            "rows": [
                {
                    "kernel": event.key[:90],
                    "times": round(event.count / rounds, 1),
                    "us": round(us / rounds, 1),
                }
                for us, event in spent[:KERNELS]
            ],
        }


def _compared(what: str, exact: InferenceNet, small: Image, found: np.ndarray[Any, Any]) -> dict[str, Any]:
    with torch.inference_mode():
        wanted = exact(torch.from_numpy(np.array(small))[None])[0].numpy()
    off = np.abs(found - wanted)
    return {
        "frame": what,
        "largest": float(f"{off.max():.2g}"),
        "mean": float(f"{off.mean():.2g}"),
        "spread": round(float(wanted.std()), 3),
    }


def _captured(job: Callable[[], object]) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            job()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        job()
    return graph


def part(name: str, job: Callable[[], object]) -> Any:
    """Run ``job``, print and return its figures; if it fails, they name the error."""
    try:
        found: Any = job()
    except Exception as error:  # the machine is lent only once: better to get the other figures than to stop
        found = {"failed": next(iter(str(error).splitlines()), type(error).__name__)}
    print(name, json.dumps(found), flush=True)
    return found


def compile_only(bench: Bench, net: BR2Net, info: ModelInfo) -> None:
    """Fill the compiler's cache."""
    with torch.inference_mode():
        for count in COMPILED:
            bench.compiled(net, info)(bench.pixels(count))


def main() -> None:
    """Measure, print and write the JSON; if a part fails, it says so there, and the others continue."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compile", choices=("lite", "standard", "paper"))
    options = parser.parse_args()
    bench = Bench(options.device)
    if options.compile:
        compile_only(bench, *networks()[options.compile])
        return
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(bench.device) if bench.cuda else "cpu (dry run)",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "ceiling": bench.ceiling(),
        "networks": {},
    }
    top = report["ceiling"]["half_gmac_per_s"]
    for name, (net, info) in reversed(networks().items()):  # the most important figures first
        parts: dict[str, Callable[[], object]] = {
            "latency_ms": partial(bench.latency, net, info),
            "equality": partial(bench.equality, net, info),
            "hd_host_to_host_ms": partial(bench.host_to_host, net, info),
            "batches": partial(bench.batches, net, info, top),
        }
        if name == "paper":
            for count in COMPILED if bench.cuda else COMPILED[:1]:
                parts[f"profile_{count}"] = partial(bench.profile, net, info, options.out, count)
        found = report["networks"][name] = {}
        for what, job in parts.items():
            found[what] = part(f"{name} {what}", job)
            (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    report["hd_frame_ms"] = part("frame", bench.frame)
    (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
