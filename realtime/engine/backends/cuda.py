"""PyTorch on CUDA with FP16, pinned buffers, streams and a CUDA graph. Only one thread may use a backend.

A slot is a pair of pinned buffers and the GPU tensors of one batch in flight. Upload, computation and
download run on separate streams and synchronize through the slot's events, so the copies of one batch overlap
with the computation of another. Images arrive one at a time and are uploaded at once. The batch is computed
when it is full, or when one of its maps is requested.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from br2focus.models.fast_detail import PLANES
from br2focus.realtime.device import RECORDING
from br2focus.realtime.engine.load import SLOTS
from br2focus.realtime.frame import Image, Values

from . import Pending, shrink
from .area import AreaShrink, luma_of
from .cuda_net import CudaNet


@dataclass
class _Slot:
    pinned_in: Tensor  # uint8 B x H x W x 3
    pinned_out: Tensor  # float32 B x h x w, or B x 3 x h x w
    pictures: Tensor  # uint8 B x H x W x 3 on the GPU
    values: Tensor  # the output on the GPU, like ``pinned_out``
    uploaded: torch.cuda.Event
    computed: torch.cuda.Event
    downloaded: torch.cuda.Event
    graph: torch.cuda.CUDAGraph | None = None
    # For frames that the CPU resizes: their original luma, pinned and on the GPU, uint8 B x H x W.
    luma: tuple[Tensor, Tensor] | None = None


@dataclass
class _Batch:
    """The images that share a slot, until their maps are copied out of it."""

    slot: _Slot
    count: int = 0
    launched: bool = False
    maps: Values | None = None


class CudaBackend:
    """Runs ``net`` for frames of ``frame_size``; see `Backend`.

    Args:
        net: the network.
        frame_size, size: width and height of the frames and of the map.
        graph: replay a captured CUDA graph; otherwise every kernel is launched individually.
        batch: images per batch; more raise the throughput, but the first image waits for the last.
    """

    def __init__(
        self,
        net: CudaNet,
        frame_size: tuple[int, int],
        size: tuple[int, int],
        *,
        graph: bool = True,
        batch: int = 1,
    ) -> None:
        self.name, self._net, self._device = net.name, net, net.device
        self.depth = SLOTS * batch
        self._size, self._batch = size, batch
        # A frame that is smaller than the network's input is resized on the CPU, which is cheap.
        smaller = size[0] > frame_size[0] or size[1] > frame_size[1]
        self._input_size = size if smaller else frame_size
        self._luma_size = frame_size if smaller and net.detail else None
        if graph:
            net.prepare(self._record)
        else:
            self._make()
        self._free = list(self._slots)
        self._open: _Batch | None = None  # receives the next image

    def _make(self) -> None:
        self._shrink = AreaShrink(self._input_size, self._size, self._device)
        self._up, self._compute, self._down = self._net.streams
        with torch.cuda.device(self._device):
            self._slots = [self._make_slot() for _ in range(SLOTS)]
            # Buffers were written on this thread's stream, which our streams do not wait for.
            torch.cuda.current_stream().synchronize()

    def _record(self) -> None:
        """Create the slots and capture a graph for each."""
        self._make()
        with torch.cuda.device(self._device):
            for slot in self._slots:
                self._warm(slot)

    def _make_slot(self) -> _Slot:
        frames = (self._batch, self._input_size[1], self._input_size[0], 3)
        maps: tuple[int, ...] = (self._batch, self._size[1], self._size[0])
        if self._net.detail:
            maps = (self._batch, PLANES, self._size[1] // 2, self._size[0] // 2)
        return _Slot(
            _pinned(frames, torch.uint8),
            _pinned(maps, torch.float32),
            torch.zeros(frames, dtype=torch.uint8, device=self._device),
            torch.zeros(maps, device=self._device),
            _event(),
            _event(),
            _event(),
            luma=self._make_luma(),
        )

    def _make_luma(self) -> tuple[Tensor, Tensor] | None:
        if self._luma_size is None:
            return None
        shape = (self._batch, self._luma_size[1], self._luma_size[0])
        return _pinned(shape, torch.uint8), torch.zeros(shape, dtype=torch.uint8, device=self._device)

    @torch.inference_mode()
    def _run(self, slot: _Slot) -> None:
        """Resize on the GPU and run the network: reads ``slot.pictures``, writes ``slot.values``."""
        inputs = [self._shrink(slot.pictures)]
        if self._net.detail:
            inputs.append(luma_of(slot.pictures) if slot.luma is None else slot.luma[1])
        slot.values.copy_(self._net.run(*inputs))

    def _warm(self, slot: _Slot) -> None:
        """Run a few times so that libraries choose their kernels, then capture the graph of this slot."""
        # A compiler benchmarks kernels, and for that it synchronizes the whole GPU.
        with RECORDING if self._net.compiled else nullcontext(), torch.cuda.stream(self._compute):
            for _ in range(3):
                self._run(slot)
        self._compute.synchronize()
        captured = torch.cuda.CUDAGraph()
        first = self._slots[0].graph
        # One memory pool for all slots, since their graphs are replayed one after the other on one stream.
        # With the default error mode, any CUDA call of another thread invalidates the capture.
        with (
            RECORDING,
            torch.cuda.graph(
                captured,
                pool=first.pool() if first else None,
                stream=self._compute,
                capture_error_mode="thread_local",
            ),
        ):
            self._run(slot)
        slot.graph = captured

    def start(self, image: Image) -> Pending:
        """Start one frame; calling the result waits for the download of its batch."""
        batch = self._open = self._open or _Batch(self._free.pop(0))
        number, slot = batch.count, batch.slot
        batch.count += 1
        if slot.luma is not None:
            slot.luma[0][number].numpy()[...] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if (image.shape[1], image.shape[0]) != self._input_size:
            image = shrink(image, self._size)
        slot.pinned_in[number].numpy()[...] = image
        with torch.cuda.stream(self._up):
            slot.pictures[number].copy_(slot.pinned_in[number], non_blocking=True)
            if slot.luma is not None:
                slot.luma[1][number].copy_(slot.luma[0][number], non_blocking=True)
        if batch.count == self._batch:
            self._launch(batch)

        def finish() -> Values:
            if not batch.launched:
                self._launch(batch)
            if batch.maps is None:
                slot.downloaded.synchronize()
                batch.maps = np.array(slot.pinned_out.numpy())
                self._free.append(slot)
            return np.array(batch.maps[number])

        return finish

    def _launch(self, batch: _Batch) -> None:
        """Compute the batch; unused places are computed, too, but not read."""
        slot, self._open = batch.slot, None
        with torch.cuda.stream(self._up):
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
            slot.pinned_out.copy_(slot.values, non_blocking=True)
            slot.downloaded.record()
        batch.launched = True  # set last: after a failure the buffer still has the maps of an older batch

    def close(self) -> None:
        """Wait for everything in flight, then release graphs and buffers."""
        try:
            for stream in (self._up, self._compute, self._down):
                stream.synchronize()
        finally:
            for slot in self._slots:  # frames in flight still refer to their slots
                slot.graph = None
            self._slots.clear()
            self._free.clear()
            self._open = None


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.zeros(shape, dtype=dtype, pin_memory=True)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
