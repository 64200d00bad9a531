"""Several processes that train one network together: started by torchrun, one per GPU or CPU.

Each process trains on its part of every batch, and gradients are averaged. The first process decides when all
stop, validates and writes; meanwhile the others wait for it. If a process fails, torchrun ends the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from .data import ALL, Share

PATIENCE = timedelta(days=1)  # the first process may validate for long; torchrun handles a dead one


@contextmanager
def joined(device: str) -> Iterator[tuple[Share, str]]:
    """Join the process group of torchrun while the context lasts; without torchrun, train alone.

    Args:
        device: "cpu", "cuda" (each process takes the GPU of its number), or "cuda:N" for a single process.

    Yields:
        This process's part of the work, and its device.

    Raises:
        ValueError: several processes were given one GPU.
        RuntimeError: there is no such device, or the processes cannot reach each other.
    """
    if not dist.is_torchelastic_launched():
        yield ALL, device
        return
    place = _own_device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=place)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Share(dist.get_rank(), dist.get_world_size()), str(place)
    finally:
        dist.destroy_process_group()


def _own_device(name: str) -> torch.device:
    if name == "cuda":
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    device = torch.device(name)
    if device.type == "cuda" and int(os.environ["LOCAL_WORLD_SIZE"]) > 1:
        raise ValueError(f"several processes cannot share {name}: say cuda, each takes its own GPU")
    return device


def mean_over_processes(value: Tensor) -> Tensor:
    """Average ``value`` over the processes that train together; every process must call it.

    Losses divide by the mean number of pixels per process: averaged gradients are those of the whole batch.
    """
    if not dist.is_initialized():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def from_first(value: int, device: torch.device) -> int:
    """Return the ``value`` of the first process; every process must call it, and waits for the first."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, device=device)
    dist.broadcast(shared, 0)
    return int(shared)
