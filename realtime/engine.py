"""Picture to blur map: chooses the backend, survives its faults, brings the map to the frame's size.

>>> engine = Engine("lite", device="cpu")          # doctest: +SKIP
>>> engine(frame_bgr).values.shape                 # doctest: +SKIP
(720, 1280)
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from platformdirs import user_cache_path

from br2focus.models import checkpoint
from br2focus.models.fast import GRID, InferenceNet, network_size

from .backends import Backend, Pending
from .errors import ComputeError, SettingsError
from .frame import BlurMap, Frame, Image, Values

if TYPE_CHECKING:
    from br2focus.models.checkpoint import ModelInfo

BackendName = Literal["auto", "openvino", "torch"]
MIN_SIZE, MAX_SIZE = 64, 2048
# A backend that gives this many results that are not finite is not asked again.
MAX_REDONE = 3
TORCH_FP32 = "torch fp32"


@dataclass(frozen=True)
class EngineSettings:
    """How maps are computed.

    Attributes:
        model: name of a shipped model, or a .safetensors file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        size: long side of the map in pixels, or None for the one the model was chosen for.
        backend: library on the CPU; "auto" is OpenVINO, with PyTorch as the fallback.
        bf16: bfloat16 on a CPU that has it.
    """

    model: str = "lite"
    device: str = "auto"
    size: int | None = None
    backend: BackendName = "auto"
    bf16: bool = True

    def __post_init__(self) -> None:
        if self.size is not None and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise SettingsError(f"size is {MIN_SIZE} to {MAX_SIZE} pixels, got {self.size}")


def cache_folder() -> Path:
    """Where converted models are kept: ``BR2FOCUS_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("BR2FOCUS_CACHE") or user_cache_path("br2focus"))


class Engine:
    """Computes blur maps. One thread uses it; a backend is made for each new size of frame.

    Args:
        settings: what to run and where.

    Attributes:
        info: the header of the checkpoint.
        notices: one line for everything that was given up or redone.
        seconds: what the caller spent on the last finished map (resizes, network, waiting for it).

    Raises:
        CheckpointError: the model is missing or damaged.
        ComputeError: the device does not exist.
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self._path, self._sha256 = checkpoint.find(self.settings.model)
        self.info: ModelInfo = checkpoint.read_info(self._path)
        self.notices: list[str] = []
        self._device = _resolve_device(self.settings.device)
        self._use_openvino = self.settings.backend != "torch"
        self.seconds = 0.0
        self._redone = 0
        self._frame_size: tuple[int, int] | None = None
        self._backend: Backend | None = None
        self._exact: Backend | None = None

    @property
    def size(self) -> int:
        """Long side of the map in pixels."""
        return self.settings.size or self.info.size

    @property
    def device(self) -> str:
        """What computes, for reports: "cpu (openvino bf16)"; "cpu" or "cuda" before the first frame."""
        if self._backend is None:
            return self._device
        return f"{self._device} ({self._backend.name})"

    @property
    def depth(self) -> int:
        """How many frames may be started before the first one is finished."""
        return self._backend.depth if self._backend else 1

    def warm(self, frame_size: tuple[int, int]) -> None:
        """Make the backend for frames of ``frame_size`` (width, height) before the first one comes.

        No frame may be in flight.
        """
        if frame_size == self._frame_size:
            return
        self._release()
        self._backend = self._make(frame_size)
        self._frame_size = frame_size

    def start(self, image: Image) -> Callable[[], BlurMap]:
        """Begin one frame (uint8 BGR H x W x 3); calling the result waits for its map at H x W.

        Frames in flight have one size, and are at most `depth`.

        Raises:
            ComputeError: nothing here can run the network.
        """
        begun = time.monotonic()
        padded = _at_least(image, self.size)
        self.warm((padded.shape[1], padded.shape[0]))
        assert self._backend is not None
        backend = self._backend
        try:
            pending = backend.start(padded)
        except RuntimeError as error:
            pending = self._restart(backend, padded, error)
        spent = time.monotonic() - begun

        def finish() -> BlurMap:
            begun = time.monotonic()
            try:
                values = pending()
            except RuntimeError as error:
                values = self._restart(backend, padded, error)()
            blur = _at_frame_size(self._finite(values, padded), padded, image)
            self.seconds = spent + time.monotonic() - begun
            return blur

        return finish

    def __call__(self, image: Image) -> BlurMap:
        """The blur map of one frame (uint8 BGR H x W x 3), at its size."""
        return self.start(image)()

    def stream(self, frames: Iterable[Frame], depth: int) -> Iterator[tuple[Frame, BlurMap]]:
        """Every frame with its map, in order, with up to ``depth`` frames in flight."""
        waiting: deque[tuple[Frame, Callable[[], BlurMap]]] = deque()
        for frame in frames:
            while waiting and waiting[0][0].size != frame.size:
                first, finish = waiting.popleft()
                yield first, finish()
            waiting.append((frame, self.start(frame.image)))
            while len(waiting) >= min(depth, self.depth):
                first, finish = waiting.popleft()
                yield first, finish()
        for first, finish in waiting:
            yield first, finish()

    def detach(self) -> None:
        """Release what belongs to the calling thread (CUDA streams, graphs); the rest serves the next."""
        if self._device != "cpu":
            self._release()

    def close(self) -> None:
        """Release the backend; the engine may be used again."""
        self._release()
        self._exact = None

    def _release(self) -> None:
        if self._backend is not None:
            self._backend.close()
        self._backend, self._frame_size = None, None

    def _net(self) -> InferenceNet:
        net, info = checkpoint.load(self._path)
        return InferenceNet(net, info.scale)

    def _make(self, frame_size: tuple[int, int]) -> Backend:
        """The best backend that starts; each one given up on leaves a notice."""
        size = network_size(frame_size, self.size)
        if self._device != "cpu":
            try:
                from .backends.cuda import CudaBackend

                return CudaBackend(self._net(), frame_size, size, self._device)
            except RuntimeError as error:  # no memory, a lost driver, a failed capture
                self._device = "cpu"
                self.notices.append(f"the GPU failed ({_line(error)}): computing on the CPU")
        if self._use_openvino:
            try:
                return self._make_openvino(size)
            except (ImportError, RuntimeError) as error:
                self._use_openvino = False
                self.notices.append(f"OpenVINO failed ({_line(error)}): computing with PyTorch")
        return self._make_torch(size)

    def _make_openvino(self, size: tuple[int, int]) -> Backend:
        from .backends.openvino import OpenVinoBackend

        cache, bf16 = cache_folder(), self.settings.bf16
        return OpenVinoBackend(self._sha256, self._net, size, cache, bf16=bf16)

    def _make_torch(self, size: tuple[int, int]) -> Backend:
        from .backends.torch_cpu import TorchBackend

        return TorchBackend(self._net(), size)

    def _restart(self, failed: Backend, image: Image, error: RuntimeError) -> Pending:
        """Begin ``image`` anew after ``failed`` raised: on the CPU after the GPU, then on PyTorch.

        Several frames in flight may fail together; only the first of them changes the backend.
        """
        if failed is self._backend:
            self._give_up_on(failed, error)
        assert self._backend is not None
        return self._backend.start(image)

    def _give_up_on(self, failed: Backend, error: RuntimeError) -> None:
        if isinstance(error, ComputeError) or failed.name == TORCH_FP32:
            raise ComputeError(f"the network failed: {_line(error)}") from error
        self._use_openvino = self._use_openvino and self._device != "cpu"
        self._device = "cpu"
        assert self._frame_size is not None
        self._backend = self._make(self._frame_size)
        self.notices.append(f"{failed.name} failed ({_line(error)}): now {self._backend.name}")

    def _finite(self, values: Values, image: Image) -> Values:
        """``values``, or the frame redone in float32 where they are not finite."""
        if np.isfinite(values).all():
            return values
        self._redone += 1
        if self._redone == 1:
            self.notices.append(f"{self.device} gave a result that is not finite: redone in fp32")
        if self._redone <= MAX_REDONE or self._exact is None:
            self._exact = self._make_torch((values.shape[1], values.shape[0]))
        values = self._exact.start(image)()
        if not np.isfinite(values).all():
            raise ComputeError(f"the model {self.info.name!r} gives results that are not finite")
        if self._redone >= MAX_REDONE:
            self._backend = self._exact
        return values


def _at_frame_size(values: Values, padded: Image, image: Image) -> BlurMap:
    """A map at the network's size -> at the padded frame's size -> without the padding."""
    height, width = image.shape[:2]
    size = (padded.shape[1], padded.shape[0])
    if (values.shape[1], values.shape[0]) != size:
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
    # Interpolation of ones may exceed one by a rounding error.
    return BlurMap(np.clip(values[:height, :width], 0, 1))


def _resolve_device(device: str) -> str:
    """ "cpu", "cuda" or "cuda:N" for what the user asked.

    Raises:
        ComputeError: a CUDA device that is not here, or an unknown name.
    """
    if device == "cpu":
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdigit() or number == ""):
        raise ComputeError(f"no device {device!r}: use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        raise ComputeError(f"no device {device!r} here ({torch.cuda.device_count()} GPUs): use cpu")
    return device


def _at_least(image: Image, long_side: int) -> Image:
    """Reflect-pad a frame so thin or small that a side would be under 32 pixels in the network."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    least = int(np.ceil(GRID / scale))
    bottom, right = max(least - height, 0), max(least - width, 0)
    if not (bottom or right):
        return image
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, np.uint8)


def _line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
