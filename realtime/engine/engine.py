"""From a picture to its blur map.

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
    """Computes blur maps. One thread at a time uses it; a backend is made for each size of frame.

    A context manager that calls `close`.

    Args:
        model: name of a shipped model, a .safetensors file, or all settings.
        settings: fields of `EngineSettings` by name, such as ``device="cpu"``.

    Attributes:
        settings: what was asked for.
        info: the header of the checkpoint.
        notices: one line for everything that was given up or redone.
        factory: makes backends, for callers that measure one by itself.
        reference: how sharp the footage can be, and from which blur on something is out of focus.
        seconds: what the caller spent on the last finished map: resizing, network, and waiting for it.

    Raises:
        CheckpointError: the model is missing or damaged.
        ComputeError: the device does not exist.
        SettingsError: a setting is out of range, or the CPU cannot run what was asked for.
        TypeError: an unknown setting, or settings given both ways.
    """

    def __init__(self, model: AnyPath | EngineSettings = "lite", **settings: Unpack[EngineOptions]) -> None:
        if isinstance(model, EngineSettings):
            if settings:
                raise TypeError(f"{', '.join(settings)}: give all settings in one object, or all by name")
        else:
            model = EngineSettings(model, **settings)
        self.settings = model
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
        """Long side of the map in pixels; less than was asked for where a GPU's memory is short."""
        return self.factory.size

    @property
    def device(self) -> str:
        """What computes, for reports: "cpu (openvino bf16)"; without a backend before the first frame."""
        device = self._placement.device
        return f"{device} ({self._ran_on})" if self._ran_on else device

    @property
    def gpu(self) -> int | None:
        """Number of the GPU that computes; None on a CPU."""
        return self._placement.gpu

    @property
    def selection(self) -> Selection | None:
        """What runs on the CPU and why, once that was measured or remembered."""
        return self.factory.selection

    def tenant(self, make: Callable[[str, Callable[[str], None]], Tenant]) -> Tenant | None:
        """Something else that computes on this engine's GPU; None on a CPU.

        Args:
            make: makes it once from the device's name and a function that takes a line for the user.
        """
        if self.gpu is None:
            return None
        with self._lock:
            tenants = self._placement.tenants
            if make not in tenants:
                tenants[make] = make(f"cuda:{self.gpu}", self.notices.append)
            return tenants[make]  # type: ignore[return-value]  # made by `make`

    def warm(self, frame_size: tuple[int, int]) -> Backend:
        """The backend for frames of ``frame_size`` (width, height), made if needed.

        Raises:
            ComputeError: nothing here can run the network.
        """
        backend = self._fallback.backend(frame_size)
        self._ran_on = backend.name
        return backend

    def start(self, image: Image, seconds: float | None = None) -> Callable[[], BlurMap]:
        """Begin one frame; calling the result waits for its map, at the network's size.

        Frames in flight have one size, and are at most the backend's ``depth``. A backend that fails is
        replaced, and the frame begun anew.

        Args:
            image: uint8 BGR H x W x 3.
            seconds: media time. With it the frame is judged beside those before it (see `Reference`),
                without it by itself.

        Raises:
            ComputeError: nothing here can run the network.
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
        """The blur map of one frame (uint8 BGR H x W x 3), at its size."""
        return self.start(image)().at((image.shape[1], image.shape[0]))

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """Every frame of one clip with its map at the network's size, in order.

        An error of ``frames`` is raised after the maps of the frames before it.

        Args:
            frames: of one clip: the reference begins anew.
            depth: frames in flight. One is for live pictures; more raise throughput and latency, and a GPU
                takes as many as fill its batches.
            size: width and height of the frames where they are known: the backend is made while the first
                frame is on its way.
        """
        self._set_frames_in_flight(depth)
        self.reference.reset()
        if size is not None and min(network_size(size, self.size)) > GRID:  # others are padded first
            self.warm(size)
        return self._in_order(frames, depth)

    def close(self) -> None:
        """Release the backends, and what is on a GPU; the engine may be used again."""
        self._fallback.release()

    def _check_options(self) -> None:
        """Say which of the settings have no effect here."""
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
        """Start frames until as many as may wait do, then give the oldest, again and again."""
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
            for _, finish in waiting:  # left early: a backend gets its slots back
                with suppress(Exception):
                    finish()

    def _judged(self, values: Values, fitted: Fitted, image: Image, seconds: float | None) -> BlurMap:
        """The blur map of what the network gives; with radii it depends on the footage."""
        if values.ndim == 2:
            return BlurMap(values)
        height, width = image.shape[:2]
        if fitted.used[0] != width:  # the frame was shrunk before
            values = enlarged(values, width / fitted.used[0])
        size = network_size((width, height), self.size)
        return self.reference.judged(values, max(width, height), size, seconds)


def _finished(waiting: deque[tuple[Frame, Callable[[], BlurMap]]]) -> tuple[Frame, BlurMap]:
    frame, finish = waiting.popleft()
    return frame, finish()
