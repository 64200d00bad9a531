"""Settings of an engine: how blur maps are computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SettingsError

from .radii import coc_of

BackendName = Literal["auto", "openvino", "onnxruntime", "torch"]
PrecisionName = Literal["auto", "fp32", "bf16", "int8"]
MIN_SIZE, MAX_SIZE = 64, 2048


class EngineOptions(TypedDict, total=False):
    """The fields of `EngineSettings` other than the model, for calls that take them as keyword arguments."""

    device: str
    size: int | None
    backend: BackendName
    precision: PrecisionName
    compiled: bool
    coc: str | float | None


@dataclass(frozen=True)
class EngineSettings:
    """Settings for computing blur maps.

    Attributes:
        model: name of a shipped model, or a .safetensors file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        size: long side of the map in pixels; None for the model's own.
        backend: inference library on the CPU; "auto" for the fastest one, measured once (see `selection`).
        precision: arithmetic on the CPU; "auto" likewise. "int8" needs a calibrated checkpoint.
        compiled: on a GPU, let `torch.compile` fuse the operations between convolutions. A map takes two
            fifths less time, but the first frame of each size takes up to a minute. Needs a C compiler.
        coc: circle of confusion, the largest blur radius that counts as in focus: pixels of the frame, or
            text as accepted by ``--coc`` ("1/1500" of the longer side); None for a limit derived from the
            footage.

    Raises:
        SettingsError: ``size`` or ``coc`` is out of range.
    """

    model: AnyPath = "lite"
    device: str = "auto"
    size: int | None = None
    backend: BackendName = "auto"
    precision: PrecisionName = "auto"
    compiled: bool = False
    coc: str | float | None = None

    @classmethod
    def of(cls, model: AnyPath | Self, options: Mapping[str, Any]) -> Self:
        """Return ``model`` if it is all settings, else the settings of a model and fields by name.

        Raises:
            SettingsError: a value is out of range.
            TypeError: both, an unknown name, or something else as ``model``.
        """
        if isinstance(model, str | os.PathLike):
            return cls(model, **options)
        if not isinstance(model, cls):
            raise TypeError(f"a model is a name, a path or {cls.__name__}, got {type(model).__name__}")
        if options:
            raise TypeError(f"{', '.join(options)}: give all settings in one object, or all by name")
        return model

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", os.fspath(self.model))
        if self.coc is not None:
            object.__setattr__(self, "coc", str(self.coc))
        coc_of(self.coc)
        if self.size is not None and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise SettingsError(f"size is {MIN_SIZE} to {MAX_SIZE} pixels, got {self.size}")
