"""PyTorch on the CPU in float32: the reference that every other backend is held to."""

from __future__ import annotations

import numpy as np
import torch

from br2focus.models.fast import InferenceNet
from br2focus.realtime.frame import Image

from . import Pending, shrink


class TorchBackend:
    """Runs ``net`` at ``size`` (width, height); see `Backend`."""

    name = "torch fp32"
    depth = 1

    def __init__(self, net: InferenceNet, size: tuple[int, int]) -> None:
        self._net = net.float().to(memory_format=torch.channels_last)
        self._size = size

    def start(self, image: Image) -> Pending:
        """Run one frame at once; the result only hands it over."""
        small = np.array(shrink(image, self._size))  # PyTorch wants a writable array
        with torch.inference_mode():
            values = self._net(torch.from_numpy(small)[None])[0].numpy()
        return lambda: values

    def close(self) -> None:
        """Nothing is held but memory."""
