"""Refines and draws on a GPU from host memory: upload, computation and download on a separate stream."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from br2focus.realtime.device import RECORDING
from br2focus.realtime.errors import first_line
from br2focus.realtime.frame import BlurMap, Image, Values
from br2focus.realtime.overlay_style import OverlayKind, OverlayStyle

from . import overlay, overlay_gpu, refining, refining_gpu
from .refining import RefineMode

KEPT = 3  # images with maps: one is being refined, one waits, one is being drawn
# A computation becomes a CUDA graph when it has been requested this many times in the same form; only the
# most recently used graphs are kept.
REPEATED, GRAPHS = 3, 4

_Job = Callable[[Tensor, Tensor], Tensor]


class GpuRenderer:
    """Runs `refining.refine` and `overlay.paint` on a GPU, equal within rounding, from any number of threads.

    A refined image stays on the GPU for drawing. After a failure (memory, driver) everything runs on the CPU,
    which is reported once.

    Args:
        device: such as "cuda:0"; "cpu" computes the same, slowly.
        say: receives the message for the user.
    """

    def __init__(self, device: str, say: Callable[[str], None]) -> None:
        self._device, self._say = torch.device(device), say
        self._cuda = self._device.type == "cuda"
        # One stream to compute on and one to capture on. PyTorch cycles through 32 streams, so a new one
        # might be in use by another stage, and a capture must not share it.
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream] | None = None
        self._lock = threading.Lock()
        self._staging = threading.local()  # per-thread pinned memory, from which copies are asynchronous
        self._kept: deque[tuple[Image, Tensor, Values, Tensor]] = deque(maxlen=KEPT)
        self._keeps_refined = False  # set once something is drawn, as refined images are then worth keeping
        self._seen: Counter[Hashable] = Counter()
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._failed = False

    def refine(self, image: Image, blur: BlurMap, mode: RefineMode) -> BlurMap:
        """See `refining.refine`."""
        if mode != "off" and not self._failed:
            with self._falling_back():
                pixels = self._up(image)
                keep = blur.radii is not None
                job = partial(_refined, mode=mode, keep=keep)
                values = self._run((mode, keep), job, pixels, self._upload_map(blur.values))
                fine = BlurMap(self._down(values))
                if self._keeps_refined:
                    with self._lock:
                        self._kept.append((image, pixels, fine.values, values))
                return fine
        return refining.refine(image, blur, mode)

    def paint(self, kind: OverlayKind, image: Image, values: Values, style: OverlayStyle) -> Image:
        """See `overlay.paint`."""
        self._keeps_refined = True
        if not self._failed:
            with self._falling_back():
                job = partial(_painted, kind=kind, style=style)
                return self._down(self._run((kind, style), job, *self._on_device(image, values)))
        return overlay.paint(kind, image, values, style)

    def release(self) -> None:
        """Release the graphs and the cached images; the renderer may be used again."""
        with self._lock:
            self._kept.clear()
            self._graphs.clear()
            self._seen.clear()

    def _run(self, what: Hashable, job: _Job, pixels: Tensor, values: Tensor) -> Tensor:
        """Return ``job(pixels, values)``; from a graph after a few calls in the same form."""
        key = what, pixels.shape, values.shape
        with self._lock:
            self._seen[key] += 1
            again = self._cuda and self._seen[key] == REPEATED
            graph = self._graphs.get(key)
            if graph is not None:
                self._graphs.move_to_end(key)
                return graph(pixels, values)
        if again:
            self._record(key, job, pixels, values)
        return job(pixels, values)

    def _record(self, key: Hashable, job: _Job, pixels: Tensor, values: Tensor) -> None:
        """Capture a graph for later calls; if that fails, nothing changes."""
        try:
            assert self._streams is not None
            graph = _Graph(self._streams[1], job, pixels, values)
        except RuntimeError as error:  # no memory for it, or an operation that needs the host
            self._say(f"{self._device}: refining or drawing without a graph ({first_line(error)})")
            return
        with self._lock:
            self._graphs[key] = graph
            if len(self._graphs) > GRAPHS:
                forgotten, _ = self._graphs.popitem(last=False)
                del self._seen[forgotten]

    def _on_device(self, image: Image, values: Values) -> tuple[Tensor, Tensor]:
        """Return image and map on the GPU, either cached from the refinement or uploaded now."""
        with self._lock:
            for kept, pixels, fine, blur in self._kept:
                if kept is image and fine is values:
                    return pixels, blur
        return self._up(image), self._upload_map(values)

    @contextmanager
    def _falling_back(self) -> Iterator[None]:
        """Run the block in inference mode on the stream; a failure is reported and ends the block."""
        try:
            with self._lock:
                if self._cuda and self._streams is None:
                    self._streams = _stream(self._device), _stream(self._device)
            on_stream = torch.cuda.stream(self._streams[0]) if self._streams else nullcontext()
            with torch.inference_mode(), on_stream:
                yield
        except RuntimeError as error:
            with self._lock:
                first, self._failed = not self._failed, True
                self._kept.clear()
                self._graphs.clear()
            if first:
                self._say(f"{self._device} failed in refining or drawing ({first_line(error)}): now the CPU")

    def _up(self, image: Image) -> Tensor:
        """Upload an image unchanged, uint8 H x W x 3."""
        staged = self._staged("up", image.shape, torch.uint8)
        # safe to overwrite: every use ends with a download, which waits for the upload
        staged.numpy()[...] = image
        return staged.to(self._device, non_blocking=True, copy=True)

    def _upload_map(self, values: Values) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self._device)

    def _down(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        staged = self._staged("down", tuple(tensor.shape), tensor.dtype)
        staged.copy_(tensor, non_blocking=True)
        if self._cuda:  # waits only for this copy, not for work that other threads have queued since
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
            done.synchronize()
        found: np.ndarray[Any, Any] = np.array(staged.numpy())
        return found

    def _staged(self, way: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return this thread's pinned buffer for one direction."""
        staged: Tensor | None = getattr(self._staging, way, None)
        if staged is None or staged.shape != shape or staged.dtype != dtype:
            staged = torch.empty(shape, dtype=dtype, pin_memory=self._cuda)
            setattr(self._staging, way, staged)
        return staged


class _Graph:
    """A computation as a CUDA graph: one launch instead of about fifty kernels.

    Each kernel launch would wait for the GIL, for which many threads compete. Only one thread may call it at
    a time.
    """

    def __init__(self, stream: torch.cuda.Stream, job: _Job, *given: Tensor) -> None:
        self._given = tuple(tensor.clone() for tensor in given)
        self._graph = torch.cuda.CUDAGraph()
        # Held throughout, since work that another thread queues on this stream meanwhile would become part of
        # the graph.
        with RECORDING:
            stream.wait_stream(torch.cuda.current_stream(given[0].device))
            with torch.cuda.stream(stream):
                job(*self._given)  # creates cached constants before the capture
            stream.synchronize()
            # With the default error mode, any CUDA call of another thread invalidates the capture.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._result: Tensor = job(*self._given)

    def __call__(self, *given: Tensor) -> Tensor:
        for mine, tensor in zip(self._given, given, strict=True):
            mine.copy_(tensor)
        self._graph.replay()
        return self._result.clone()


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _refined(pixels: Tensor, values: Tensor, *, mode: RefineMode, keep: bool) -> Tensor:
    """Return float32 H x W from uint8 BGR H x W x 3 and float32 h x w."""
    return refining_gpu.refine(_as_float(pixels), values[None, None], mode, keep=keep)[0, 0]


def _painted(pixels: Tensor, values: Tensor, *, kind: OverlayKind, style: OverlayStyle) -> Tensor:
    """Return uint8 BGR H x W x 3 (twice as wide for side-by-side) from the same inputs."""
    draw = getattr(overlay_gpu, kind.replace("-", "_"))
    drawn = draw(_as_float(pixels), values[None, None], style)[0]
    levels: Tensor = (drawn.flip(0).permute(1, 2, 0) * 255).round().byte()
    return levels.contiguous()


def _as_float(pixels: Tensor) -> Tensor:
    """Convert uint8 BGR H x W x 3 to float 1 x 3 x H x W RGB in [0, 1]."""
    return pixels.flip(2).permute(2, 0, 1)[None].float() / 255
