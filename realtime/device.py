"""The devices of this computer: which one computes, and how many cores the process may use."""

from __future__ import annotations

import ctypes
import os
import threading

from .errors import ComputeError

# Held while a thread records a graph: it begins with waiting for all of the GPU, which would break another's.
RECORDING = threading.Lock()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def resolved(device: str) -> str:
    """ "cpu", "cuda" or "cuda:N" for what the user asked.

    Raises:
        ComputeError: a CUDA device that is not here, or an unknown name.
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
    """Whether to ask PyTorch at all: importing it takes longer than a short job."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True
