"""PyTorch on CUDA: FP16, pinned buffers, three streams, a graph. One thread makes, uses and closes it.

A slot is a pair of pinned buffers and the GPU tensors of one frame in flight. Upload, compute and
download run on streams of their own and meet at the slot's events, so that the copies of one frame hide
behind the computing of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from br2focus.models.fast import InferenceNet
from br2focus.realtime.frame import Image, Values

from . import Pending

DEPTH = 3


@dataclass
class _Slot:
    pinned_in: Tensor  # uint8 H x W x 3
    pinned_out: Tensor  # float32 h x w
    picture: Tensor  # uint8 1 x H x W x 3 on the GPU
    values: Tensor  # float32 1 x h x w on the GPU
    uploaded: torch.cuda.Event
    computed: torch.cuda.Event
    downloaded: torch.cuda.Event
    graph: torch.cuda.CUDAGraph | None = None


class CudaBackend:
    """Runs ``net`` for frames of ``frame_size``; see `Backend`.

    Args:
        net: the network; it is moved to ``device`` in ``dtype``.
        frame_size, size: width and height of the frames and of the map.
        device: such as "cuda" or "cuda:1".
        dtype: float16, or float32 for the exact form.
        graph: replay a captured CUDA graph; without it every kernel is launched anew.
    """

    def __init__(
        self, net: InferenceNet, frame_size: tuple[int, int], size: tuple[int, int],
        device: str = "cuda", *, dtype: torch.dtype = torch.float16, graph: bool = True,
    ) -> None:  # fmt: skip
        self.name = f"torch {device} {'fp16' if dtype == torch.float16 else 'fp32'}"
        self.depth = DEPTH
        self._device, self._size, self._frame_size = torch.device(device), size, frame_size
        self._net = net.to(self._device, dtype).to(memory_format=torch.channels_last)
        with torch.cuda.device(self._device):
            self._up, self._compute, self._down = (_stream() for _ in range(3))
            self._slots = [self._make_slot() for _ in range(DEPTH)]
            # Weights and buffers were written on this thread's stream, which ours do not wait for.
            torch.cuda.current_stream().synchronize()
            for slot in self._slots:
                self._warm(slot, graph=graph)
        self._free = list(self._slots)

    def _make_slot(self) -> _Slot:
        width, height = self._frame_size
        picture = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=self._device)
        values = torch.zeros((1, self._size[1], self._size[0]), device=self._device)
        events = _event(), _event(), _event()
        pinned_in = torch.empty((height, width, 3), dtype=torch.uint8, pin_memory=True)
        pinned_out = torch.empty((self._size[1], self._size[0]), pin_memory=True)
        return _Slot(pinned_in, pinned_out, picture, values, *events)

    @torch.inference_mode()
    def _run(self, slot: _Slot) -> None:
        """Resize on the GPU, then the network: reads ``slot.picture``, writes ``slot.values``."""
        pixels = slot.picture.permute(0, 3, 1, 2).float()
        height, width = self._size[1], self._size[0]
        if pixels.shape[-2:] != (height, width):
            # Antialiased: the same low-pass as the area average of the CPU backends, within a level.
            pixels = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
        slot.values.copy_(self._net(pixels.permute(0, 2, 3, 1)))

    def _warm(self, slot: _Slot, *, graph: bool) -> None:
        """Run once so that libraries choose their kernels, then capture the graph of this slot."""
        with torch.cuda.stream(self._compute):
            for _ in range(3):
                self._run(slot)
        self._compute.synchronize()
        if graph:
            captured = torch.cuda.CUDAGraph()
            first = self._slots[0].graph
            # One pool for all slots: their graphs replay one after the other on one stream. With the
            # default error mode, any CUDA call of another thread kills the capture.
            with torch.cuda.graph(
                captured, pool=first.pool() if first else None, stream=self._compute,
                capture_error_mode="thread_local",
            ):  # fmt: skip
                self._run(slot)
            slot.graph = captured

    def start(self, image: Image) -> Pending:
        """Begin one frame; calling the result waits for the download and copies the map out."""
        slot = self._free.pop(0)
        slot.pinned_in.numpy()[...] = image
        with torch.cuda.stream(self._up):
            slot.picture.copy_(slot.pinned_in[None], non_blocking=True)
            slot.uploaded.record()
        with torch.cuda.stream(self._compute):
            self._compute.wait_event(slot.uploaded)
            if slot.graph is None:
                self._run(slot)
            else:
                slot.graph.replay()
            slot.computed.record()
        with torch.cuda.stream(self._down), torch.inference_mode():
            self._down.wait_event(slot.computed)
            slot.pinned_out.copy_(slot.values[0], non_blocking=True)
            slot.downloaded.record()

        def finish() -> Values:
            slot.downloaded.synchronize()
            values = np.array(slot.pinned_out.numpy())
            self._free.append(slot)
            return values

        return finish

    def close(self) -> None:
        """Wait for what is in flight, then let go of graphs and buffers."""
        try:
            torch.cuda.synchronize(self._device)
        finally:
            self._slots.clear()
            self._free.clear()


def _stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
