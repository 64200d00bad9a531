"""Where the network currently runs; only a failure changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .load import Load
from .selection import BackendSpec


class GpuTenant(Protocol):
    """An object that holds memory of the compute GPU and releases it on request."""

    def release(self) -> None:
        """Release memory; more may be allocated later."""


@dataclass
class Placement:
    """Where the network currently runs.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        compiled: whether `torch.compile` is used.
        spec: library and arithmetic on the CPU; None until selected.
        load: amount of work given to a GPU at once.
        frames_in_flight: how many frames may be started before the first is finished.
        redone: number of frames so far with a non-finite result.
        tenants: GPU tenants by the function that created them (see `Engine.tenant`).
    """

    device: str
    compiled: bool = False
    spec: BackendSpec | None = None
    load: Load = field(default_factory=Load)
    frames_in_flight: int = 1
    redone: int = 0
    tenants: dict[Callable[..., Any], GpuTenant] = field(default_factory=dict)

    @property
    def on_cpu(self) -> bool:
        """True if the network runs on the CPU."""
        return self.device == "cpu"

    @property
    def gpu(self) -> int | None:
        """Number of the GPU in use; None on a CPU."""
        return None if self.on_cpu else int(self.device.partition(":")[2] or 0)

    def release_tenants(self) -> None:
        """Ask all tenants to release their memory."""
        for tenant in self.tenants.values():
            tenant.release()
