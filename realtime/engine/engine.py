"""Picture to blur map: chooses the backend, and survives its faults.

>>> engine = Engine(EngineSettings("lite", device="cpu"))  # doctest: +SKIP
>>> engine(frame_bgr).values.shape  # doctest: +SKIP
(720, 1280)
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from br2focus.models import checkpoint
from br2focus.models.errors import CheckpointError
from br2focus.models.limits import frame_ratio, spacing_of
from br2focus.models.paths import AnyPath
from br2focus.models.sizes import GRID, network_size
from br2focus.realtime.device import resolved
from br2focus.realtime.errors import ComputeError, SettingsError, first_line
from br2focus.realtime.folders import cache_folder
from br2focus.realtime.frame import BlurMap, Frame, Image, Values

from .backends import Backend, Pending
from .load import BATCH, Load, full_batch, is_short_of_memory
from .padding import Fitted, fit, without_padding
from .radii import Reference, coc_of
from .selection import EXACT, Choice, Way, choose, ways

if TYPE_CHECKING:
    from br2focus.models.checkpoint import ModelInfo
    from br2focus.models.fast import InferenceNet
    from br2focus.realtime.drawing.gpu_renderer import OnGpu

    from .backends.cuda import CudaNet

BackendName = Literal["auto", "openvino", "onnxruntime", "torch"]
PrecisionName = Literal["auto", "fp32", "bf16", "int8"]
MIN_SIZE, MAX_SIZE = 64, 2048
# A backend that gives this many results that are not finite is not asked again.
MAX_REDONE = 3
WIDE = (1280, 720)  # a frame of the shape that most videos have
MAX_BACKENDS, MAX_ON_GPU = 16, 2  # sizes that are kept ready
# Which of the planes of a network with ``detail`` are ln of pixels: radius and softness.
IN_PIXELS = np.array([1, 0, 1], np.float32)[:, None, None]
# What a library raises when its device or its memory fails; anything else is a bug.
FAULTS = (RuntimeError, MemoryError, cv2.error)


@dataclass(frozen=True)
class EngineSettings:
    """How maps are computed.

    Attributes:
        model: name of a shipped model, or a .safetensors file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        size: long side of the map in pixels, or None for the one the model was chosen for.
        backend: library on the CPU; "auto" is the fastest one, measured once (see `choice`).
        precision: arithmetic on the CPU; "auto" in the same way. "int8" needs a checkpoint with ranges.
        compiled: on a GPU, let `torch.compile` write what lies between the convolutions: two fifths less time
            a map, and up to a minute at the first frame of each size. It needs a C compiler.
        coc: circle of confusion, see `radii.parse_coc`; None for what the footage and its width allow.
    """

    model: AnyPath = "lite"
    device: str = "auto"
    size: int | None = None
    backend: BackendName = "auto"
    precision: PrecisionName = "auto"
    compiled: bool = False
    coc: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", os.fspath(self.model))
        coc_of(self.coc)
        if self.size is not None and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise SettingsError(f"size is {MIN_SIZE} to {MAX_SIZE} pixels, got {self.size}")


class Engine:
    """Computes blur maps. One thread at a time uses it; a backend is made for each size of frame.

    Args:
        settings: what to run and where.

    Attributes:
        info: the header of the checkpoint.
        notices: one line for everything that was given up or redone.
        choice: what runs on the CPU and why, once that was measured or remembered.
        reference: how sharp the footage can be, and from which blur on something is out of focus.
        seconds: what the caller spent on the last finished map (resizes, network, waiting for it).

    Raises:
        CheckpointError: the model is missing or damaged.
        ComputeError: the device does not exist.
        SettingsError: the CPU cannot run what was asked for.
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self._path, self._sha256 = checkpoint.find(self.settings.model)
        self.info: ModelInfo = checkpoint.read_info(self._path)
        self.notices: list[str] = []
        self.reference = Reference(coc_of(self.settings.coc))
        if self.settings.coc is not None and not self._detail:
            self.notices.append(f"{self.info.name} gives no blur radii: --coc is left out")
        self.seconds = 0.0
        self._device = resolved(self.settings.device)
        self._load = Load()
        self._compiled = self.settings.compiled and self._device != "cpu"
        if self.settings.compiled and not self._compiled:
            self.notices.append("torch.compile is for a GPU: left out")
        if self._compiled and self._detail:
            self._compiled = False
            self.notices.append("torch.compile does not know blur radii yet: left out")
        self.choice: Choice | None = None
        self._way: Way | None = None  # on the CPU, once it is known
        self._ways: list[Way] = []  # what is possible on the CPU, once somebody asks
        if (self.settings.backend, self.settings.precision) != ("auto", "auto"):
            self._ways = self._possible()  # what is not possible is said at once
        self._redone = 0
        self._usual: tuple[int, int] | None = None  # the size of frames that a backend is made for
        self._ran_on = ""
        self._in_flight = 1
        self._backends: dict[tuple[int, ...], Backend] = {}  # by `_key`, oldest first
        self._on_gpu: dict[int, CudaNet] = {}  # what its backends share, by the spacing of evidence
        self._finisher: OnGpu | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Long side of the map in pixels; less than was asked for where a GPU's memory is short."""
        return self._load.side(self._asked)

    @property
    def _asked(self) -> int:
        return self.settings.size or self.info.size

    @property
    def device(self) -> str:
        """What computes, for reports: "cpu (openvino bf16)"; without a backend before the first frame."""
        return f"{self._device} ({self._ran_on})" if self._ran_on else self._device

    @property
    def gpu(self) -> int | None:
        """Number of the GPU that computes; None on a CPU."""
        return None if self._device == "cpu" else int(self._device.partition(":")[2] or 0)

    @property
    def finisher(self) -> OnGpu | None:
        """What refines and draws on the GPU that computes; None on a CPU. See `finishing`."""
        if self.gpu is None:
            return None
        with self._lock:
            if self._finisher is None:
                from br2focus.realtime.drawing.gpu_renderer import OnGpu

                self._finisher = OnGpu(f"cuda:{self.gpu}", self.notices.append)
            return self._finisher

    def warm(self, frame_size: tuple[int, int]) -> Backend:
        """The backend for frames of ``frame_size`` (width, height), made if it is not there yet.

        Raises:
            ComputeError: nothing here can run the network.
        """
        backend = self._backends.pop(self._key(frame_size), None)
        if backend is None:
            most = MAX_BACKENDS if self._device == "cpu" else MAX_ON_GPU
            while len(self._backends) >= most:
                self._backends.pop(next(iter(self._backends))).close()
            backend = self._make(frame_size)
        self._backends[self._key(frame_size)] = backend  # making it may have changed the device
        self._ran_on = backend.name
        return backend

    def start(self, image: Image, seconds: float | None = None) -> Callable[[], BlurMap]:
        """Begin one frame (uint8 BGR H x W x 3); calling the result waits for its map, at its own size.

        With its media time in ``seconds`` it is judged beside the frames before it (see `Reference`), else
        by itself.

        Frames in flight have one size, and are at most the backend's ``depth``. A backend that fails is
        replaced, and the frame begun anew.

        Raises:
            ComputeError: nothing here can run the network.
        """
        begun = time.monotonic()
        fitted = fit(image, self.size)
        backend, pending = self._begin(fitted.picture)
        spent = time.monotonic() - begun

        def finish() -> BlurMap:
            nonlocal backend, pending
            begun = time.monotonic()
            while True:
                try:
                    values = pending()
                    break
                except FAULTS as error:
                    self._give_up_on(backend, error, fitted.picture)
                    backend, pending = self._begin(fitted.picture)
            values = without_padding(self._finite(values, fitted.picture), fitted)
            blur = self._judged(values, fitted, image, seconds)
            self.seconds = spent + time.monotonic() - begun
            return blur

        return finish

    def _judged(self, values: Values, fitted: Fitted, image: Image, seconds: float | None) -> BlurMap:
        if values.ndim == 2:
            return BlurMap(values)
        height, width = image.shape[:2]
        if fitted.used[0] != width:  # it was shrunk before, and its radii are in pixels of that
            values = values + np.float32(np.log(width / fitted.used[0])) * IN_PIXELS
        size = network_size((width, height), self.size)
        return self.reference.judged(values, max(width, height), size, seconds)

    def __call__(self, image: Image) -> BlurMap:
        """The blur map of one frame (uint8 BGR H x W x 3), at its size."""
        return self.start(image)().at(_size(image))

    def stream(
        self, frames: Iterable[Frame], depth: int, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[Frame, BlurMap]]:
        """Every frame with its map at its own size, in order; see `expect` for ``depth``.

        A backend for ``size`` (width, height; None: not known) is made while the first frame is on its way.
        The frames are of one clip, whose reference begins anew.

        An error of ``frames`` is raised after the maps of the frames before it.
        """
        self.expect(depth)
        self.reference.reset()
        if size is not None and min(network_size(size, self.size)) > GRID:  # others are padded first
            self.warm(size)
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
                while len(waiting) >= (self.warm_depth if depth > 1 else 1):
                    yield _finished(waiting)
            while waiting:
                yield _finished(waiting)
            if error is not None:
                raise error
        finally:
            for _, finish in waiting:  # left early: a backend gets its slots back
                with suppress(Exception):
                    finish()

    def expect(self, depth: int) -> None:
        """Make backends for ``depth`` frames in flight from now on: more throughput, more latency.

        One is for live pictures. For more, a GPU takes as many as fill its batches.
        """
        if depth != self._in_flight:
            self._close_backends()
            self._in_flight, self._load = depth, Load(BATCH if depth > 1 else 1)

    @property
    def warm_depth(self) -> int:
        """How many frames the backend used last takes before the first one must be finished."""
        return next(reversed(self._backends.values())).depth if self._backends else 1

    def close(self) -> None:
        """Release the backends, and what is on a GPU; the engine may be used again."""
        self._close_backends()
        if self._finisher is not None:
            self._finisher.forget()
        if self._on_gpu:
            self._on_gpu = {}
            gc.collect()  # a network on two streams refers to itself

    def _close_backends(self) -> None:
        backends, self._backends = self._backends, {}
        for backend in backends.values():
            with suppress(RuntimeError):  # a lost device cannot even be waited for
                backend.close()

    def _begin(self, picture: Image) -> tuple[Backend, Pending]:
        """Begin ``picture`` on the first backend that takes it."""
        while True:
            backend = self.warm(_size(picture))
            try:
                return backend, backend.start(picture)
            except FAULTS as error:
                self._give_up_on(backend, error, picture)

    def _give_up_on(self, failed: Backend, error: Exception, picture: Image) -> None:
        """After a failure: from the GPU to less or to the CPU, from OpenVINO to PyTorch, then the end.

        Several frames in flight may fail together; only the first of them changes anything.
        """
        if failed not in self._backends.values():
            return
        if failed.name == EXACT.name:
            raise ComputeError(f"the network failed: {first_line(error)}") from error
        self.close()
        if self._device != "cpu":
            self._relieve(failed.name, error, _size(picture))
            return
        self._way = EXACT
        self.notices.append(f"{failed.name} failed ({first_line(error)}): now PyTorch on the CPU")

    def _relieve(self, name: str, error: Exception, frame_size: tuple[int, int]) -> None:
        """Ask less of a GPU whose memory is short; after the least, or another failure, go to the CPU.

        What is compiled is first tried as it is.
        """
        short = is_short_of_memory(error)
        if self._compiled and not short and not name.endswith("fp32"):
            self._compiled, self._on_gpu = False, {}
            self.notices.append(f"{name} failed ({first_line(error)}): now without torch.compile")
            return
        if short and self._finisher is not None:
            self._finisher.forget()
        less = self._load.less(self._asked, full_batch(frame_size)) if short else None
        if less is None:
            self._close_backends()  # those of other sizes of frames, where this one could not be made
            self._device, self._on_gpu, instead = "cpu", {}, "the CPU"
        else:
            instead = less.smaller_than(self._load, self._asked)
        self._load = less or Load()
        self.notices.append(f"{name} failed ({first_line(error)}): now {instead}")

    def _possible(self) -> list[Way]:
        asked = self.settings
        return ways(asked.backend, asked.precision, has_ranges=bool(self.info.ranges))

    def _key(self, frame_size: tuple[int, int]) -> tuple[int, ...]:
        """What a backend is made for: the size of the frame, or that of the map where it is enough."""
        if self._device != "cpu":
            return frame_size
        size = network_size(frame_size, self.size)
        if not self._detail:
            return size
        # Photographs of many sizes share one that takes them all; a clip's is made for its own.
        if self._backends and frame_size != self._usual:
            return (*size, spacing_of(frame_ratio(frame_size, size)))
        self._usual = frame_size
        return frame_size

    @property
    def _detail(self) -> bool:
        return self.info.config.detail != "none"

    def net(self, frame_size: tuple[int, int] = WIDE) -> InferenceNet:
        """The network in its fast form for frames of ``frame_size`` (width, height), read anew."""
        from br2focus.models.fast_detail import inference_net

        net, info = checkpoint.load(self._path)
        ratio = frame_ratio(frame_size, network_size(frame_size, self.size))
        return inference_net(net, info.scale, ratio)

    def _marked_net(self, frame_size: tuple[int, int]) -> InferenceNet:
        """The network with the ranges of its eight-bit layers, for runtimes that round them."""
        from br2focus.models.int8 import with_ranges

        net, ranges = self.net(frame_size), self.info.ranges
        try:
            return with_ranges(net, ranges) if ranges else net
        except ValueError as error:
            raise CheckpointError(f"{self._path}: {error}: calibrate it again") from error

    def _make(self, frame_size: tuple[int, int]) -> Backend:
        """The best backend that starts; each one given up on leaves a notice."""
        if self._redone >= MAX_REDONE:
            return self._make_exact(frame_size)
        while self._device != "cpu":
            try:
                return self._make_cuda(frame_size)
            except FAULTS as error:  # no memory, a lost driver, a failed capture
                if self._backends and is_short_of_memory(error):
                    self._close_backends()  # of other sizes of frames, and idle
                else:
                    self._relieve(f"torch {self._device}", error, frame_size)
            gc.collect()  # the error refers to itself, and to the memory that it came from
        way = self._chosen()
        try:
            return self.make_cpu(way, frame_size, depth=self._in_flight)
        except (ImportError, *FAULTS) as error:
            if way == EXACT:
                raise ComputeError(f"the network failed: {first_line(error)}") from error
            self._way = EXACT
            self.notices.append(f"{way.name} failed ({first_line(error)}): computing with PyTorch")
        return self.make_cpu(EXACT, frame_size, depth=1)

    def _chosen(self) -> Way:
        """How to run on the CPU: the only way that is possible, or the best one for most videos."""
        self._ways = self._ways or self._possible()
        if self._way is None and len(self._ways) == 1:
            self._way = self._ways[0]
        if self._way is None:
            size = network_size(WIDE, self.size)
            frame = WIDE if self._detail else size
            self.choice = choose(
                self._ways,
                lambda way: self.make_cpu(way, frame, depth=1),
                size,
                frame,
                sha256=self._sha256,
                cache=cache_folder(),
                faults=FAULTS,
            )
            self._way = self.choice.way
            for name, reason in self.choice.failed.items():
                self.notices.append(f"{name} failed ({reason}): left out")
        return self._way

    def make_cpu(self, way: Way, frame_size: tuple[int, int], *, depth: int) -> Backend:
        """A backend of its own for frames of ``frame_size``, for callers that want a certain one.

        They close it.

        Args:
            depth: frames in flight, for libraries that take several.
        """
        cache, size = cache_folder(), network_size(frame_size, self.size)
        frame = frame_size if self._detail else None
        any_frame = self._detail and len(self._key(frame_size)) > 2
        if way.library == "openvino":
            from .backends.openvino import OpenVinoBackend

            return OpenVinoBackend(
                self._sha256,
                lambda: self._marked_net(frame_size),
                size,
                cache,
                precision=way.precision,
                depth=depth,
                frame_size=frame,
                any_frame=any_frame,
            )
        if way.library == "onnxruntime":
            from .backends.onnxruntime import OnnxBackend

            return OnnxBackend(self._sha256, lambda: self.net(frame_size), size, cache, frame)
        from .backends.torch_cpu import TorchBackend

        return TorchBackend(self.net(frame_size), size, way.precision)

    def _make_cuda(self, frame_size: tuple[int, int]) -> Backend:
        from .backends.cuda import CudaBackend, CudaNet

        size, batch = network_size(frame_size, self.size), full_batch(frame_size)
        spacing = spacing_of(frame_ratio(frame_size, size)) if self._detail else 0
        if spacing not in self._on_gpu:
            made = CudaNet(self.net(frame_size), self._device, compiled=self._compiled)
            self._on_gpu[spacing] = made
        return CudaBackend(self._on_gpu[spacing], frame_size, size, batch=min(batch, self._load.batch))

    def _make_exact(self, frame_size: tuple[int, int]) -> Backend:
        """The float32 form on the same device, or on the CPU where that fails."""
        if self._device != "cpu":
            with suppress(*FAULTS):
                return self._make_exact_cuda(frame_size)
        return self.make_cpu(EXACT, frame_size, depth=1)

    def _make_exact_cuda(self, frame_size: tuple[int, int]) -> Backend:
        import torch

        from .backends.cuda import CudaBackend, CudaNet

        net = CudaNet(self.net(frame_size), self._device, dtype=torch.float32)
        return CudaBackend(net, frame_size, network_size(frame_size, self.size), graph=False)

    def _finite(self, values: Values, picture: Image) -> Values:
        """``values``, or the frame redone in float32 where they are not finite."""
        if np.isfinite(values).all():
            return values
        self._redone += 1
        if self._redone == 1:
            self.notices.append(f"{self.device} gave a result that is not finite: redone in fp32")
        try:
            values = self._make_exact(_size(picture)).start(picture)()
        except FAULTS as error:  # it was made, and could not run
            if self._device == "cpu":
                raise ComputeError(f"the network failed: {first_line(error)}") from error
            values = self.make_cpu(EXACT, _size(picture), depth=1).start(picture)()
        if not np.isfinite(values).all():
            raise ComputeError(f"the model {self.info.name!r} gives results that are not finite")
        if self._redone == MAX_REDONE:
            self.close()  # from now on, `_make` makes the exact form
        return values


def _size(picture: Image) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _finished(waiting: deque[tuple[Frame, Callable[[], BlurMap]]]) -> tuple[Frame, BlurMap]:
    frame, finish = waiting.popleft()
    return frame, finish()
