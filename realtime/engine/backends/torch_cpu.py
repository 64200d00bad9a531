"""PyTorch on the CPU; in float32, the reference for all other backends."""

from __future__ import annotations

import numpy as np
import torch

from br2focus.models.fast import InferenceNet
from br2focus.models.fast_detail import DetailNet, in_precision
from br2focus.realtime.frame import Image

from . import Pending, Precision, network_inputs


class TorchBackend:
    """Runs ``net`` at ``size`` (width, height) in float32 or bfloat16; see `Backend`."""

    depth = 1

    def __init__(self, net: InferenceNet, size: tuple[int, int], precision: Precision = "fp32") -> None:
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self.name = f"torch {precision}"
        self._net = in_precision(net, dtype)
        self._size = size

    def start(self, image: Image) -> Pending:
        """Run one frame immediately; the result only returns the map."""
        inputs = network_inputs(image, self._size, detail=isinstance(self._net, DetailNet))
        with torch.inference_mode():
            tensors = (torch.from_numpy(np.array(each)) for each in inputs)  # writable copies
            values = self._net(*tensors)[0].float().numpy()
        return lambda: values

    def close(self) -> None:
        """Do nothing, since only memory is held."""
