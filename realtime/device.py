"""Compute devices of this computer, and the number of CPU cores available to the process."""

from __future__ import annotations

import ctypes
import os
import threading

from .errors import ComputeError

# Held while a thread captures a CUDA graph. A capture starts by synchronizing the whole GPU, which would
# break a capture in another thread.
RECORDING = threading.Lock()


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(core_numbers())


def core_numbers() -> list[int]:
    """Return the numbers of the CPU cores that this process may use; macOS cannot restrict them."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def resolved(device: str) -> str:
    """Resolve the device that the user asked for to "cpu", "cuda" or "cuda:N".

    Raises:
        ComputeError: the CUDA device does not exist, or the name is unknown.
    """
    if device == "cpu" or (device == "auto" and not _has_cuda_driver()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdigit() or number == ""):
        raise ComputeError(f"no device {device!r}: use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        raise ComputeError(f"no device {device!r} here ({torch.cuda.device_count()} GPUs): use cpu")
    return device


def _has_cuda_driver() -> bool:
    """Return whether to ask PyTorch at all, since importing it takes longer than a short job."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
