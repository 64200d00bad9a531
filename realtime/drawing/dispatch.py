"""Where refining and overlays are computed: on the GPU that computes the maps, else on the CPU."""

from __future__ import annotations

from collections.abc import Callable

from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.frame import BlurMap, Image

from .overlay import Paint, paint
from .refining import RefineMode, refine

Refine = Callable[[Image, BlurMap, RefineMode], BlurMap]


def refiner(engine: Engine) -> Refine:
    """`refining.refine` beside ``engine``; what fails is among the engine's notices."""
    finisher = engine.finisher
    return refine if finisher is None else finisher.refine


def painter(engine: Engine) -> Paint:
    """`overlay.paint` in the same way; what was refined just now is drawn without another upload."""
    finisher = engine.finisher
    return paint if finisher is None else finisher.paint
