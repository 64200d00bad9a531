"""Computes the blur map of an image.

>>> engine = Engine("lite")  # doctest: +SKIP
>>> engine(frame_bgr).values.shape  # doctest: +SKIP
(720, 1280)
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, Unpack

from br2focus.models.paths import AnyPath
from br2focus.models.sizes import GRID, network_size
from br2focus.realtime.closing import Closing
from br2focus.realtime.device import resolved
from br2focus.realtime.frame import BlurMap, Frame, Image, Values

from .backend_cache import BackendCache
from .backends import Backend
from .factory import BackendFactory
from .fallback import Fallback
from .load import BATCH, FAULTS, Load
from .padding import Fitted, fit, without_padding
from .placement import GpuTenant, Placement
from .radii import Reference, coc_of, enlarged
from .selection import Selection
from .settings import EngineOptions, EngineSettings

if TYPE_CHECKING:
    from br2focus.models.checkpoint import ModelInfo

Tenant = TypeVar("Tenant", bound=GpuTenant)


class Engine(Closing):
    """Computes blur maps; creates one backend per frame size. Only one thread may use it at a time.

    A context manager that calls `close`.

    Args:
        model: name of a shipped model, a .safetensors file, or all settings.
        settings: fields of `EngineSettings` by name, such as ``device="cpu"``.

    Attributes:
        settings: the requested settings.
        info: header of the checkpoint.
        notices: one line for everything that was skipped, replaced or recomputed.
        factory: creates backends, for callers that benchmark one in isolation.
        reference: the best sharpness of the footage, and the blur above which something is out of focus.
        seconds: time the caller spent on the last finished map: resizing, network, and waiting for it.

    Raises:
        CheckpointError: the model is missing or damaged.
        ComputeError: the device does not exist.
        SettingsError: a setting is out of range, or the CPU does not support the requested settings.
        TypeError: a setting is unknown, or settings are given both as an object and by name.
    """

    def __init__(self, model: AnyPath | EngineSettings = "lite", **settings: Unpack[EngineOptions]) -> None:
        self.settings = EngineSettings.of(model, settings)
        self.notices: list[str] = []
        self.seconds = 0.0
        self._placement = Placement(resolved(self.settings.device))
        self.factory = BackendFactory(self.settings, self._placement)
        self.info: ModelInfo = self.factory.info
        self.reference = Reference(coc_of(self.settings.coc))
        self._backends = BackendCache(self.factory)
        self._fallback = Fallback(self.factory, self._backends, self.notices.append)
        self._ran_on = ""
        self._lock = threading.Lock()
        self._check_options()

    @property
    def size(self) -> int:
        """Long side of the map in pixels; less than requested if a GPU is short of memory."""
        return self.factory.size

    @property
    def device(self) -> str:
        """Compute device for reports, e.g. "cpu (openvino bf16)"; without backend before the first frame."""
        device = self._placement.device
        return f"{device} ({self._ran_on})" if self._ran_on else device

    @property
    def gpu(self) -> int | None:
        """Number of the GPU in use; None on a CPU."""
        return self._placement.gpu

    @property
    def selection(self) -> Selection | None:
        """The selected CPU backend and the reason, once measured or read from the cache."""
        return self.factory.selection

    def tenant(self, make: Callable[[str, Callable[[str], None]], Tenant]) -> Tenant | None:
        """Return an object that shares this engine's GPU; None on a CPU.

        Args:
            make: creates the object once, from the device name and a function that receives messages for the
                user.
        """
        if self.gpu is None:
            return None
        with self._lock:
            tenants = self._placement.tenants
            if make not in tenants:
                tenants[make] = make(f"cuda:{self.gpu}", self.notices.append)
            return tenants[make]  # type: ignore[return-value]  # made by `make`

    def warm(self, frame_size: tuple[int, int]) -> Backend:
        """Return the backend for frames of ``frame_size`` (width, height), creating it if needed.

        Raises:
            ComputeError: nothing on this computer can run the network.
        """
        backend = self._fallback.backend(frame_size)
        self._ran_on = backend.name
        return backend

    def start(self, image: Image, seconds: float | None = None) -> Callable[[], BlurMap]:
        """Start one frame; calling the result waits for its map, at the network's size.

        All frames in flight must have the same size, and there may be at most as many as the backend's
        ``depth``. If a backend fails, it is replaced and the frame is started again.

        Args:
            image: uint8 BGR H x W x 3.
            seconds: presentation time. If given, the frame is judged against earlier ones (see `Reference`),
                else on its own.

        Raises:
            ComputeError: nothing on this computer can run the network.
        """
        begun = time.monotonic()
        fitted = fit(image, self.size)
        backend, pending = self._fallback.start(fitted.picture)
        self._ran_on = backend.name
        spent = time.monotonic() - begun

        def finish() -> BlurMap:
            nonlocal backend, pending
            begun = time.monotonic()
            while True:
                try:
                    values = pending()
                    break
                except FAULTS as error:
                    self._fallback.on_backend_failure(backend, error, fitted.picture)
                    backend, pending = self._fallback.start(fitted.picture)
                    self._ran_on = backend.name
            values = self._fallback.finite(values, fitted.picture, self.device)
            blur = self._judged(without_padding(values, fitted), fitted, image, seconds)
            self.seconds = spent + time.monotonic() - begun
            return blur

        return finish

    def __call__(self, image: Image) -> BlurMap:
        """Return the blur map of one frame (uint8 BGR H x W x 3), at the frame's size."""
        return self.start(image)().at((image.shape[1], image.shape[0]))

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """Yield every frame of one clip with its map at the network's size, in order.

        An error of ``frames`` is raised after the maps of the frames before it.

        Args:
            frames: frames of one clip; the reference is reset.
            depth: frames in flight. Use one for live video. More raise throughput and latency, and a GPU
                takes as many as fill its batches.
            size: width and height of the frames, if known; then the backend is created before the first frame
                arrives.
        """
        self._set_frames_in_flight(depth)
        self.reference.reset()
        if size is not None and min(network_size(size, self.size)) > GRID:  # smaller frames are padded first
            self.warm(size)
        return self._in_order(frames, depth)

    def close(self) -> None:
        """Release the backends and GPU memory; the engine may be used again."""
        self._fallback.release()

    def _check_options(self) -> None:
        """Add a notice for every setting that has no effect here."""
        if self.settings.coc is not None and not self.factory.detail:
            self.notices.append(f"{self.info.name} gives no blur radii: --coc is left out")
        if not self.settings.compiled:
            return
        if self._placement.on_cpu:
            self.notices.append("torch.compile is for a GPU: left out")
        elif self.factory.detail:
            self.notices.append("torch.compile does not know blur radii yet: left out")
        else:
            self._placement.compiled = True

    def _set_frames_in_flight(self, depth: int) -> None:
        if depth != self._placement.frames_in_flight:
            self._backends.close()
            self._placement.frames_in_flight = depth
            self._placement.load = Load(BATCH if depth > 1 else 1)

    def _in_order(self, frames: Iterable[Frame], depth: int) -> Iterator[tuple[Frame, BlurMap]]:
        """Start frames until the maximum number is in flight, then yield the oldest, repeatedly."""
        waiting: deque[tuple[Frame, Callable[[], BlurMap]]] = deque()
        coming, error = iter(frames), None
        try:
            while True:
                try:
                    frame = next(coming, None)
                except Exception as caught:
                    frame, error = None, caught
                if frame is None:
                    break
                while waiting and waiting[0][0].size != frame.size:
                    yield _finished(waiting)
                waiting.append((frame, self.start(frame.image, float(frame.seconds))))
                while len(waiting) >= (self._backends.depth if depth > 1 else 1):
                    yield _finished(waiting)
            while waiting:
                yield _finished(waiting)
            if error is not None:
                raise error
        finally:
            for _, finish in waiting:  # iteration ended early: return the slots to the backend
                with suppress(Exception):
                    finish()

    def _judged(self, values: Values, fitted: Fitted, image: Image, seconds: float | None) -> BlurMap:
        """Convert the network's output to a blur map; with radii, the result depends on the footage."""
        if values.ndim == 2:
            return BlurMap(values)
        height, width = image.shape[:2]
        if fitted.used[0] != width:  # the frame was downscaled for padding
            values = enlarged(values, width / fitted.used[0])
        size = network_size((width, height), self.size)
        return self.reference.judged(values, max(width, height), size, seconds)


def _finished(waiting: deque[tuple[Frame, Callable[[], BlurMap]]]) -> tuple[Frame, BlurMap]:
    frame, finish = waiting.popleft()
    return frame, finish()
