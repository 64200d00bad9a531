"""Refining and overlays of pictures in host memory on a GPU: up, computed, down, in a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from . import overlay, overlay_gpu, refining, refining_gpu
from .frame import BlurMap, Image, Values
from .overlay import OverlayKind, OverlayStyle
from .refining import RefineMode


class OnGpu:
    """`refining.refine` and `overlay.paint` on a GPU, within rounding; one thread uses it.

    What fails there (memory, the driver) is done on the CPU from then on, which is said once.

    Args:
        device: such as "cuda:0"; "cpu" computes the same, slowly.
        say: takes the line for the user.
    """

    def __init__(self, device: str, say: Callable[[str], None]) -> None:
        self._device, self._say = torch.device(device), say
        self._stream: torch.cuda.Stream | None = None
        self._staged: Tensor | None = None  # pinned: from there a copy does not wait for the CPU
        self._lost = False

    def refine(self, image: Image, blur: BlurMap, mode: RefineMode) -> BlurMap:
        """See `refining.refine`."""
        if mode != "off" and not self._lost:
            with self._trying():
                fine = refining_gpu.refine(self._up(image), self._map_up(blur.values), mode)
                return BlurMap(fine[0, 0].cpu().numpy())
        return refining.refine(image, blur, mode)

    def paint(self, kind: OverlayKind, image: Image, values: Values, style: OverlayStyle) -> Image:
        """See `overlay.paint`."""
        if not self._lost:
            with self._trying():
                draw = getattr(overlay_gpu, kind.replace("-", "_"))
                drawn = draw(self._up(image), self._map_up(values), style)[0]
                levels = (drawn.flip(0).permute(1, 2, 0) * 255).round().byte()
                return np.asarray(levels.contiguous().cpu().numpy())
        return overlay.paint(kind, image, values, style)

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """In inference mode, on the stream; a failure is said and leaves the block."""
        cuda = self._device.type == "cuda"
        try:
            if cuda and self._stream is None:
                self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            with torch.inference_mode(), torch.cuda.stream(self._stream) if cuda else nullcontext():
                yield
        except RuntimeError as error:
            self._lost, self._staged = True, None
            why = next(iter(str(error).splitlines()), type(error).__name__)
            self._say(f"{self._device} failed in refining or drawing ({why}): now the CPU")

    def _up(self, image: Image) -> Tensor:
        """float 1 x 3 x H x W RGB in [0, 1]."""
        if self._staged is None or self._staged.shape != image.shape:
            pinned = self._device.type == "cuda"
            self._staged = torch.empty(image.shape, dtype=torch.uint8, pin_memory=pinned)
        self._staged.numpy()[...] = (
            image  # every use ends with a download, which waits for the upload
        )
        pixels = self._staged.to(self._device, non_blocking=True)
        return pixels.flip(2).permute(2, 0, 1)[None].float() / 255

    def _map_up(self, values: Values) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self._device)[None, None]
