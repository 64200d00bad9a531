"""Where refining and overlays are computed: on the GPU that computes the maps, else on the CPU."""

from __future__ import annotations

from collections.abc import Callable

from .engine import Engine
from .frame import BlurMap, Image
from .overlay import Paint, paint
from .refining import RefineMode, refine

Refine = Callable[[Image, BlurMap, RefineMode], BlurMap]


def refiner(engine: Engine) -> Refine:
    """`refining.refine` beside ``engine``, for one thread; what fails is among the engine's notices."""
    if engine.gpu is None:
        return refine
    from .on_gpu import OnGpu

    return OnGpu(f"cuda:{engine.gpu}", engine.notices.append).refine


def painter(engine: Engine) -> Paint:
    """`overlay.paint` in the same way, for one thread."""
    if engine.gpu is None:
        return paint
    from .on_gpu import OnGpu

    return OnGpu(f"cuda:{engine.gpu}", engine.notices.append).paint
