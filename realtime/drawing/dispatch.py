"""Selects where refinement and overlays run: on the GPU that computes the maps, else on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from br2focus.realtime.frame import BlurMap, Image
from br2focus.realtime.overlay_style import OverlayKind, OverlayStyle
from br2focus.realtime.result import FocusResult, Painter

from .overlay import Paint, draw, paint
from .refining import RefineMode, refine

if TYPE_CHECKING:
    from .gpu_renderer import GpuRenderer

Refine = Callable[[Image, BlurMap, RefineMode], BlurMap]
MakeRenderer = Callable[[str, Callable[[str], None]], "GpuRenderer"]


@runtime_checkable
class GpuHost(Protocol):
    """A network that shares its GPU, like `Engine`."""

    def tenant(self, make: MakeRenderer, /) -> GpuRenderer | None:
        """Return the object that ``make`` creates once for the device; None on a CPU."""


def refiner(network: object) -> Refine:
    """Return `refining.refine` on the GPU of ``network`` if it is a `GpuHost` with one, else on the CPU."""
    renderer = _renderer(network)
    return refine if renderer is None else renderer.refine


def painter(network: object) -> Paint:
    """Return `overlay.paint` likewise; just-refined frames are drawn without another upload."""
    renderer = _renderer(network)
    return paint if renderer is None else renderer.paint


class Drawer:
    """Draws overlays with their legend. A copy in another process draws on its CPU.

    Args:
        paint: draws the overlay itself, see `overlay.paint`.
    """

    def __init__(self, paint: Paint) -> None:
        self._paint = paint

    def __call__(self, result: FocusResult, kind: OverlayKind, style: OverlayStyle | None) -> Image:
        return draw(result, kind, style, paint=self._paint)

    def __reduce__(self) -> tuple[type[Drawer], tuple[Paint]]:
        return Drawer, (paint,)


def drawer(network: object) -> Painter:
    """Draw on results of ``network`` with `painter`."""
    return Drawer(painter(network))


def _renderer(network: object) -> GpuRenderer | None:
    return network.tenant(_make) if isinstance(network, GpuHost) else None


def _make(device: str, notify: Callable[[str], None]) -> GpuRenderer:
    from .gpu_renderer import GpuRenderer  # imports PyTorch

    return GpuRenderer(device, notify)
