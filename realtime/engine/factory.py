"""Makes the backends of one model: reads the checkpoint and hands it to the library that runs it."""

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

COMMON_FRAME = (1280, 720)  # backends are compared on it: most videos have its shape


class BackendFactory:
    """Makes backends for frames of any size.

    Args:
        settings: the model and what was asked for.
        placement: where it runs now.

    Attributes:
        info: the header of the checkpoint.
        selection: what runs on the CPU and why, once that was measured or remembered.

    Raises:
        CheckpointError: the model is missing or damaged.
        SettingsError: the CPU cannot run what was asked for.
    """

    def __init__(self, settings: EngineSettings, placement: Placement) -> None:
        self.settings, self.placement = settings, placement
        self.path, self.sha256 = checkpoint.find(settings.model)
        self.info: ModelInfo = checkpoint.read_info(self.path)
        self.selection: Selection | None = None
        self._specs: list[BackendSpec] = []  # what this CPU can run, once somebody asks
        self._gpu_nets: dict[int, CudaNet] = {}  # by the spacing of the evidence; shared by frame sizes
        if (settings.backend, settings.precision) != ("auto", "auto"):
            self._specs = self._available()  # refuse what is not possible at once

    @property
    def full_size(self) -> int:
        """Long side of the map in pixels, as asked for."""
        return self.settings.size or self.info.size

    @property
    def size(self) -> int:
        """Long side of the map in pixels; less than `full_size` where a GPU's memory is short."""
        return self.placement.load.side(self.full_size)

    @property
    def detail(self) -> bool:
        """Whether the network also looks at the frame at its own size."""
        return self.info.config.detail != "none"

    def net(self, frame_size: tuple[int, int] = COMMON_FRAME) -> InferenceNet:
        """The network in its fast form for frames of ``frame_size`` (width, height), read anew."""
        from br2focus.models.fast_detail import inference_net

        net, info = checkpoint.load(self.path)
        return inference_net(net, info.scale, frame_ratio(frame_size, network_size(frame_size, self.size)))

    def on_cpu(
        self, spec: BackendSpec, frame_size: tuple[int, int], *, depth: int, any_frame: bool = False
    ) -> Backend:
        """A backend on the CPU for frames of ``frame_size``; the caller closes it.

        Args:
            spec: library and arithmetic.
            depth: frames in flight, for libraries that take several.
            any_frame: one that also takes other frames of this shape; slower.
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
        """A backend on the GPU for frames of ``frame_size``, in batches as large as memory allows."""
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
        """The network in float32 on the same device, or on the CPU where that fails."""
        if not self.placement.on_cpu:
            with suppress(*FAULTS):
                return self._reference_on_gpu(frame_size)
        return self.on_cpu(REFERENCE, frame_size, depth=1)

    def select(self) -> BackendSpec:
        """What runs on the CPU: the only spec that is possible, or the fastest one for most videos."""
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
        """Release the networks on a GPU, and what others hold there; both are made again when needed."""
        self.placement.release_tenants()
        if self._gpu_nets:
            self._gpu_nets = {}
            gc.collect()  # a network on two streams refers to itself

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
        """The network with the ranges of its eight-bit layers, for runtimes that round them."""
        from br2focus.models.int8 import with_ranges

        net, ranges = self.net(frame_size), self.info.ranges
        try:
            return with_ranges(net, ranges) if ranges else net
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}: calibrate it again") from error
