"""Knowledge distillation: a larger trained network provides soft masks for a smaller one."""

from __future__ import annotations

import torch
from torch import Tensor

from br2focus.models import checkpoint
from br2focus.models.config import InputScale


class Teacher:
    """Computes P(blurred) of a trained network for a batch of training crops.

    Args:
        model: checkpoint by name or path.
        scale: the input scale of the crops.
        device: where to run.
        gain: factor on its logits.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ValueError: it has another input scale, or ``detail``.
    """

    def __init__(self, model: str, scale: InputScale, device: torch.device, gain: float = 1.0) -> None:
        net, info = checkpoint.load(checkpoint.find(model)[0])
        if info.scale != scale:
            raise ValueError(f"teacher = {model!r} has another input scale than the network")
        if info.config.detail != "none":
            raise ValueError(f"teacher = {model!r} looks at whole frames: a teacher sees crops alone")
        self.gain = gain
        self.net = net.eval().to(device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Map normalised images B x 3 x H x W to P, float32 B x 1 x H x W."""
        return torch.sigmoid(self.gain * self.net(image).fused.float())
