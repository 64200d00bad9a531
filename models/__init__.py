"""BR2Net and its checkpoints. The code of the network mirrors the paper: no devices, threads or files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .br2net import BR2Net
    from .checkpoint import ModelInfo, load, save, shipped
    from .config import BR2NetConfig
    from .errors import CheckpointError, FocusError

__all__ = [
    "BR2Net",
    "BR2NetConfig",
    "CheckpointError",
    "FocusError",
    "ModelInfo",
    "load",
    "save",
    "shipped",
]

__getattr__ = lazy_names(
    __name__,
    {
        "br2net": ["BR2Net"],
        "checkpoint": ["ModelInfo", "load", "save", "shipped"],
        "config": ["BR2NetConfig"],
        "errors": ["CheckpointError", "FocusError"],
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
