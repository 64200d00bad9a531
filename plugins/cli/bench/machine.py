"""What every ``bench`` needs: a description of the machine, its ceilings, and interleaved timing."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 4  # at least; the first is a warm-up
UNCOUNTED, COUNTED = 2, 4  # calls of a job per turn
LIBRARIES = ("torch", "openvino", "onnxruntime", "opencv-python", "av", "numpy")
MATRIX = {"cpu": 2048, "cuda": 8192}  # side of the matrix product that measures the ceiling
COPIED = 1 << 28  # bytes; far more than the caches hold


def machine(device: str) -> dict[str, Any]:
    """Describe the processor, memory and libraries."""
    from br2focus.realtime.engine.backends.openvino import cpu_name

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Any] = {
        "cpu": cpu_name() if find_spec("openvino") else platform.processor(),
        "cores": os.cpu_count(),
        "cpu_features": _features(),
        "memory_gb": round(memory / 1e9),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    if device != "cpu":
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _features() -> list[str]:
    """Return the CPU features that decide how fast networks run."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return [flag for flag in known if flag in flags]


Times = dict[str, list[float]]


def in_turns(jobs: Mapping[str, Callable[[], object]], seconds: float) -> Times:
    """Time every job in seconds, some calls of each per round, so that a busy moment affects all of them.

    The first calls of each turn are not counted: the threads of the previous library are still waiting for
    work then.
    """
    times: Times = {name: [] for name in jobs}
    begun, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - begun < seconds:
        for name, job in jobs.items():
            for number in range(UNCOUNTED + COUNTED):
                start = time.perf_counter()
                job()
                if number >= UNCOUNTED and rounds:
                    times[name].append(time.perf_counter() - start)
        rounds += 1
    return times


def milliseconds(times: list[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds."""
    return {
        "p50": round(1e3 * statistics.median(times), 3),
        "p95": round(1e3 * float(np.percentile(times, 95)), 3),
    }


def ceiling(device: str) -> dict[str, float]:
    """Measure this machine's limits: 10^9 multiply-adds a second by arithmetic, and GB copied a second."""
    import torch

    kind = "cpu" if device == "cpu" else "cuda"
    side, found = MATRIX[kind], {}
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for name, dtype in dtypes.items():
        if kind == "cpu" and name == "fp16":
            continue  # its speed varies between CPUs, and nothing here uses it
        a = torch.randn(side, side, device=device).to(dtype)

        def product(a: torch.Tensor = a) -> None:
            a @ a
            _wait(device)

        spent = statistics.median(in_turns({"product": product}, 0.5)["product"])
        found[f"{name}_gmac_per_s"] = round(side**3 / spent / 1e9, 1)
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        _wait(device)

    spent = statistics.median(in_turns({"copy": copy}, 0.5)["copy"])
    found["copied_gb_per_s"] = round(COPIED / spent / 1e9, 1)
    return found


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)
