"""Where the network runs now. A failure changes it, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .load import Load
from .selection import BackendSpec


class GpuTenant(Protocol):
    """Holds memory of the GPU that computes, and gives it back when asked."""

    def release(self) -> None:
        """Give memory back; more may be taken later."""


@dataclass
class Placement:
    """Where the network runs now.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        compiled: with `torch.compile`.
        spec: library and arithmetic on the CPU; None until it is selected.
        load: what a GPU is asked to do at once.
        frames_in_flight: how many frames may be started before the first is finished.
        redone: frames so far whose result was not finite.
        tenants: by what made them, see `tenant`.
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
        """Whether the CPU computes."""
        return self.device == "cpu"

    @property
    def gpu(self) -> int | None:
        """Number of the GPU that computes; None on a CPU."""
        return None if self.on_cpu else int(self.device.partition(":")[2] or 0)

    def release_tenants(self) -> None:
        """Ask all tenants for their memory."""
        for tenant in self.tenants.values():
            tenant.release()
