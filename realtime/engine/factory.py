"""Creates the backends of one model: reads the checkpoint and passes it to an inference library."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING

from br2focus.models import checkpoint
from br2focus.models.errors import CheckpointError
from br2focus.models.limits import frame_ratio, spacing_of
from br2focus.models.sizes import network_size
from br2focus.realtime.folders import cache_folder

from .backends import Backend
from .load import FAULTS, full_batch
from .placement import Placement
from .selection import REFERENCE, BackendSpec, Selection, available_backends, select
from .settings import EngineSettings

if TYPE_CHECKING:
    from br2focus.models.checkpoint import ModelInfo
    from br2focus.models.fast import InferenceNet

    from .backends.cuda_net import CudaNet

COMMON_FRAME = (1280, 720)  # used to compare backends; most videos have its aspect ratio


class BackendFactory:
    """Creates backends for frames of any size.

    Args:
        settings: the model and the requested settings.
        placement: where the network currently runs.

    Attributes:
        info: header of the checkpoint.
        selection: the selected CPU backend and the reason, once measured or read from the cache.

    Raises:
        CheckpointError: the model is missing or damaged.
        SettingsError: the CPU does not support the requested settings.
    """

    def __init__(self, settings: EngineSettings, placement: Placement) -> None:
        self.settings, self.placement = settings, placement
        self.path, self.sha256 = checkpoint.find(settings.model)
        self.info: ModelInfo = checkpoint.read_info(self.path)
        self.selection: Selection | None = None
        self._specs: list[BackendSpec] = []  # what this CPU can run; filled on demand
        self._gpu_nets: dict[int, CudaNet] = {}  # by evidence spacing; shared by frame sizes
        if (settings.backend, settings.precision) != ("auto", "auto"):
            self._specs = self._available()  # reject impossible settings early

    @property
    def full_size(self) -> int:
        """Requested long side of the map in pixels."""
        return self.settings.size or self.info.size

    @property
    def size(self) -> int:
        """Long side of the map in pixels; less than `full_size` if a GPU is short of memory."""
        return self.placement.load.side(self.full_size)

    @property
    def detail(self) -> bool:
        """True if the network also looks at the frame at full resolution."""
        return self.info.config.detail != "none"

    def net(self, frame_size: tuple[int, int] = COMMON_FRAME) -> InferenceNet:
        """Load the network in its fast form for frames of ``frame_size`` (width, height)."""
        from br2focus.models.fast_detail import inference_net

        net, info = checkpoint.load(self.path)
        return inference_net(net, info.scale, frame_ratio(frame_size, network_size(frame_size, self.size)))

    def on_cpu(
        self, spec: BackendSpec, frame_size: tuple[int, int], *, depth: int, any_frame: bool = False
    ) -> Backend:
        """Create a CPU backend for frames of ``frame_size``; the caller must close it.

        Args:
            spec: library and arithmetic.
            depth: frames in flight, for libraries that support several.
            any_frame: also accept other frames with this aspect ratio; slower.
        """
        cache, size = cache_folder(), network_size(frame_size, self.size)
        frame = frame_size if self.detail else None
        if spec.library == "openvino":
            from .backends.openvino import OpenVinoBackend

            return OpenVinoBackend(
                self.sha256,
                lambda: self._calibrated_net(frame_size),
                size,
                cache,
                precision=spec.precision,
                depth=depth,
                frame_size=frame,
                any_frame=any_frame,
            )
        if spec.library == "onnxruntime":
            from .backends.onnxruntime import OnnxBackend

            return OnnxBackend(self.sha256, lambda: self.net(frame_size), size, cache, frame)
        from .backends.torch_cpu import TorchBackend

        return TorchBackend(self.net(frame_size), size, spec.precision)

    def on_gpu(self, frame_size: tuple[int, int]) -> Backend:
        """Create a GPU backend for frames of ``frame_size``, with batches as large as memory allows."""
        from .backends.cuda import CudaBackend
        from .backends.cuda_net import CudaNet

        placement = self.placement
        size, batch = network_size(frame_size, self.size), full_batch(frame_size)
        spacing = spacing_of(frame_ratio(frame_size, size)) if self.detail else 0
        if spacing not in self._gpu_nets:
            self._gpu_nets[spacing] = CudaNet(
                self.net(frame_size), placement.device, compiled=placement.compiled
            )
        batch = min(batch, placement.load.batch)
        return CudaBackend(self._gpu_nets[spacing], frame_size, size, batch=batch)

    def reference(self, frame_size: tuple[int, int]) -> Backend:
        """Create a float32 backend on the same device, or on the CPU if that fails."""
        if not self.placement.on_cpu:
            with suppress(*FAULTS):
                return self._reference_on_gpu(frame_size)
        return self.on_cpu(REFERENCE, frame_size, depth=1)

    def select(self) -> BackendSpec:
        """Return what to run on the CPU: the only possible spec, or the fastest one for most videos."""
        self._specs = self._specs or self._available()
        if len(self._specs) == 1:
            return self._specs[0]
        size = network_size(COMMON_FRAME, self.size)
        frame = COMMON_FRAME if self.detail else size
        self.selection = select(
            self._specs,
            lambda spec: self.on_cpu(spec, frame, depth=1),
            size,
            frame,
            sha256=self.sha256,
            cache=cache_folder(),
        )
        return self.selection.spec

    def release(self) -> None:
        """Release GPU networks and tenants' GPU memory; both are recreated when needed."""
        self.placement.release_tenants()
        if self._gpu_nets:
            self._gpu_nets = {}
            gc.collect()  # a network on two streams contains a reference cycle

    def _reference_on_gpu(self, frame_size: tuple[int, int]) -> Backend:
        import torch

        from .backends.cuda import CudaBackend
        from .backends.cuda_net import CudaNet

        net = CudaNet(self.net(frame_size), self.placement.device, dtype=torch.float32)
        return CudaBackend(net, frame_size, network_size(frame_size, self.size), graph=False)

    def _available(self) -> list[BackendSpec]:
        asked = self.settings
        return available_backends(asked.backend, asked.precision, calibrated=bool(self.info.ranges))

    def _calibrated_net(self, frame_size: tuple[int, int]) -> InferenceNet:
        """Load the network with the ranges of its int8 layers, for runtimes that quantize them."""
        from br2focus.models.int8 import with_ranges

        net, ranges = self.net(frame_size), self.info.ranges
        try:
            return with_ranges(net, ranges) if ranges else net
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}: calibrate it again") from error
