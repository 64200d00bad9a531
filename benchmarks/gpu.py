"""The GPU's figures, with PyTorch alone; called by gpu.sh, which says how.

    python benchmarks/gpu.py --device cuda --out OUT

For each network: equality with the CPU at every kind of size, latency from tensor to tensor against the plain
network, 1080p from host to host, throughput by batch against the matrix product measured here, allocations a
frame, and a profile. ``--device cpu`` runs the same code a few times, as a test of this script.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig
from br2focus.models.fast import InferenceNet
from br2focus.models.sizes import network_size
from br2focus.realtime.backends import Backend, shrink
from br2focus.realtime.frame import BlurMap, FocusResult, Frame, Image, Timing, Values
from br2focus.realtime.overlay import OverlayKind, OverlayStyle, draw
from br2focus.realtime.refining import refine

SIDE = 320
SIZES = ((1280, 720), (640, 427), (161, 121), (1920, 1080))
BATCHES = (1, 4, 16, 64)
HD = (1920, 1080)
FRAMES = 100  # for allocations


def picture(size: tuple[int, int], seed: int = 0) -> Image:
    """Smooth noise, uint8 BGR."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (1, 3, size[1] // 8 + 1, size[0] // 8 + 1)).astype(np.float32)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(small), (size[1], size[0]), mode="bicubic"
    )
    return np.ascontiguousarray(large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy())


def networks() -> dict[str, tuple[BR2Net, ModelInfo]]:
    """The shipped ones, and the paper's with random weights: it computes as long."""
    found = {name: checkpoint.load(checkpoint.find(name)[0]) for name in ("lite", "standard")}
    torch.manual_seed(0)
    config = BR2NetConfig()
    return found | {"paper": (BR2Net(config).eval(), ModelInfo("paper", config, size=SIDE))}


class Bench:
    """The measurements of one device."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"
        self.half = torch.float16 if self.cuda else torch.bfloat16
        self.rounds = 200 if self.cuda else 2

    def wait(self) -> None:
        """For what the device still does."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def milliseconds(
        self, job: Callable[[], object], *, rounds: int | None = None
    ) -> dict[str, float]:
        """Median and 95th percentile of the wall time of a job and all that it started."""
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
        """Pictures of different values: a GPU computes zeros faster."""
        return torch.randint(256, (count, SIDE, SIDE, 3), device=self.device, dtype=torch.uint8)

    def ceiling(self) -> dict[str, float]:
        """10^9 multiply-adds a second of a matrix product, and GB/s of a copy."""
        side = 8192 if self.cuda else 512
        a = torch.randn(side, side, device=self.device, dtype=self.half)
        product = self.milliseconds(lambda: a @ a, rounds=max(2, self.rounds // 10))["p50"]
        source = torch.ones(1 << (28 if self.cuda else 22), dtype=torch.uint8, device=self.device)
        copied = self.milliseconds(source.clone)["p50"]
        return {
            "half_gmac_per_s": round(side**3 / product / 1e6, 1),
            "copied_gb_per_s": round(source.numel() / copied / 1e6, 1),
        }

    def backend(
        self,
        net: InferenceNet,
        frame: tuple[int, int],
        size: tuple[int, int],
        *,
        graph: bool = True,
    ) -> Backend:
        """As the engine makes it."""
        if self.cuda:
            from br2focus.realtime.backends.cuda import CudaBackend

            return CudaBackend(net, frame, size, str(self.device), graph=graph)
        from br2focus.realtime.backends.torch_cpu import TorchBackend

        return TorchBackend(net, size, "bf16")

    def equality(self, net: BR2Net, info: ModelInfo) -> list[dict[str, Any]]:
        """Largest and mean difference in P from float32 on the CPU, at the backend's own input."""
        rows = []
        for frame in SIZES:
            size = network_size(frame, SIDE)
            image = picture(frame)
            small = torch.from_numpy(np.array(shrink(image, size)))[None]
            with torch.inference_mode():
                exact = InferenceNet(net, info.scale)(small)[0].numpy()
            backend = self.backend(InferenceNet(net, info.scale), frame, size)
            difference = np.abs(backend.start(image)() - exact)
            backend.close()
            rows.append({
                "frame": f"{frame[0]}x{frame[1]}", "largest": float(difference.max()),
                "mean": float(difference.mean()),
            })  # fmt: skip
        return rows

    def latency(self, net: BR2Net, info: ModelInfo) -> dict[str, Any]:
        """Batch 1 at 320 x 320 on the device, from tensor to tensor: plain, fast, and as a graph."""
        plain = net.to(self.device)
        image = torch.rand(1, 3, SIDE, SIDE, device=self.device)
        pixels = self.pixels(1)
        with torch.inference_mode():
            found = {"plain fp32 eager": self.milliseconds(lambda: plain(image).fused)}
            net.to("cpu")
            fast = InferenceNet(net, info.scale).to(self.device, self.half)
            fast = fast.to(memory_format=torch.channels_last)
            found["fast half eager"] = self.milliseconds(lambda: fast(pixels))
            if self.cuda:
                found["fast half graph"] = self.milliseconds(_captured(fast, pixels).replay)
        best = min(times["p50"] for times in found.values())
        return {**found, "times_plain": round(found["plain fp32 eager"]["p50"] / best, 2)}

    def host_to_host(self, net: BR2Net, info: ModelInfo) -> dict[str, Any]:
        """1080p pictures in host memory to maps in host memory, one at a time, and what is allocated."""
        size = network_size(HD, SIDE)
        backend, image = self.backend(InferenceNet(net, info.scale), HD, size), picture(HD)
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
        """Maps a second by batch, and the share of the matrix product's multiply-adds."""
        from torch.utils.flop_counter import FlopCounterMode

        fast = InferenceNet(net, info.scale)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            fast(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
        macs = counter.get_total_flops() / 2e9
        fast = fast.to(self.device, self.half).to(memory_format=torch.channels_last)
        rows = []
        for count in BATCHES if self.cuda else BATCHES[:2]:
            pixels = self.pixels(count)
            with torch.inference_mode():
                ms = self.milliseconds(partial(fast, pixels), rounds=max(2, self.rounds // 4))[
                    "p50"
                ]
            rate = 1e3 * count / ms
            rows.append({
                "batch": count, "ms": ms, "maps_per_s": round(rate, 1),
                "share_of_ceiling": round(rate * macs / top, 4),
            })  # fmt: skip
        return rows

    def frame(self) -> dict[str, Any]:
        """1080p after the network: refining and overlay, on the host and on the device with both copies."""
        from br2focus.realtime import overlay_gpu  # kornia, which a bare machine may not have

        image = picture(HD)
        values = np.ascontiguousarray(picture((480, 270))[..., 0] / np.float32(255))
        blur = BlurMap(np.clip(cv2.resize(values, HD), 0, 1))
        frame, timing = Frame(image, 0, 0, Fraction(1, 30), 0.0), Timing(0, 0, 0, 0, 0, 0)
        style, found = OverlayStyle(), {}
        for kind in ("heat", "peaking"):

            def host(kind: OverlayKind = kind) -> Image:
                fine = refine(image, blur, "fast")
                return draw(FocusResult(frame, fine, timing), kind, style, "lite")

            device = partial(self._finished, image, values, getattr(overlay_gpu, kind), style)
            found[f"{kind} on the host"] = self.milliseconds(host, rounds=max(2, self.rounds // 4))
            found[f"{kind} on the device"] = self.milliseconds(device)
        return found

    @torch.inference_mode()
    def _finished(
        self, image: Image, values: Values, overlay: Callable[..., Tensor], style: OverlayStyle
    ) -> Tensor:
        """The drawn picture, back on the host."""
        from br2focus.realtime import refining_gpu

        pixels = (
            torch.from_numpy(np.array(image)).to(self.device).flip(2).permute(2, 0, 1)[None].float()
        )
        pixels = pixels / 255
        small = torch.from_numpy(values).to(self.device)[None, None]
        blur = torch.nn.functional.interpolate(small, HD[::-1], mode="bilinear").clamp(0, 1)
        drawn = overlay(pixels, refining_gpu.refine(pixels, blur, "fast"), style)
        return (drawn[0].flip(0).permute(1, 2, 0) * 255).round().byte().cpu()

    def profile(self, net: BR2Net, info: ModelInfo, out: Path) -> None:
        """A table and a trace of twenty frames at batch 1."""
        from torch.profiler import ProfilerActivity, profile

        fast = InferenceNet(net, info.scale).to(self.device, self.half)
        fast = fast.to(memory_format=torch.channels_last)
        pixels = self.pixels(1)
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.cuda else [])]
        with torch.inference_mode():
            fast(pixels)
            with profile(activities=kinds) as profiler:
                for _ in range(20 if self.cuda else 2):
                    fast(pixels)
                self.wait()
        key = "cuda_time_total" if self.cuda else "cpu_time_total"
        (out / "profile.txt").write_text(profiler.key_averages().table(sort_by=key, row_limit=30))
        profiler.export_chrome_trace(str(out / "trace.json.gz"))


def _captured(fast: InferenceNet, pixels: torch.Tensor) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        for _ in range(3):
            fast(pixels)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        fast(pixels)
    return graph


def part(name: str, job: Callable[[], object]) -> Any:
    """The figures of ``job``, printed too; what failed is named in them."""
    try:
        found: Any = job()
    except (
        RuntimeError,
        ImportError,
    ) as error:  # out of memory, a kernel or a package that is missing
        found = {"failed": str(error).splitlines()[0]}
    print(name, json.dumps(found), flush=True)
    return found


def main() -> None:
    """Measure, print and write the JSON; a part that fails is named in it, and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bench = Bench(options.device)
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(bench.device) if bench.cuda else "cpu (dry run)",
        "python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count(),
        "ceiling": bench.ceiling(), "networks": {},
    }  # fmt: skip
    top = report["ceiling"]["half_gmac_per_s"]
    report["hd_frame_ms"] = part("frame", bench.frame)
    for name, (net, info) in networks().items():
        parts: dict[str, Callable[[], object]] = {
            "equality": partial(bench.equality, net, info),
            "latency_ms": partial(bench.latency, net, info),
            "hd_host_to_host_ms": partial(bench.host_to_host, net, info),
            "batches": partial(bench.batches, net, info, top),
        }
        if name == "standard":
            parts["profile"] = partial(bench.profile, net, info, options.out)
        found = report["networks"][name] = {}
        for what, job in parts.items():
            found[what] = part(f"{name} {what}", job)
        (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
