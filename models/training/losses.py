"""The paper's loss, and what its authors propose to add to it.

Targets are P(blurred) in [0, 1], B x 1 x H x W; ``valid`` is 1 where a pixel has a label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from br2focus.models.br2net import Maps

from .config import LossConfig
from .distributed import mean_over_processes

EDGE_BAND = 5  # pixels on each side of the mask's edge


def side_loss(maps: Maps, target: Tensor, valid: Tensor) -> Tensor:
    """Sum over the eleven maps of the mean BCE with logits over valid pixels (the paper's loss)."""
    losses = [
        (F.binary_cross_entropy_with_logits(m.float(), target, reduction="none") * valid).sum()
        for m in maps.all()
    ]
    return torch.stack(losses).sum() / _count(valid)


def iou_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - soft intersection over union, mean over the batch and over both classes (Mattyus et al. 2017).

    A class that a picture does not have costs nothing, or one wrong pixel would cost everything. A soft
    target counts as the class it is nearer to: against a soft one, this loss is not least at the target.
    """
    p, target = torch.sigmoid(logits.float()), (target > 0.5).float()
    losses = []
    for ours, theirs in ((p, target), (1 - p, 1 - target)):
        both = (ours * theirs * valid).sum((1, 2, 3))
        either = ((ours + theirs - ours * theirs) * valid).sum((1, 2, 3))
        present = ((theirs > 0.5) * valid).sum((1, 2, 3)) > 0
        losses.append(((1 - both / either.clamp(min=1)) * present).mean())
    return torch.stack(losses).mean()


def edge_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean BCE where both classes lie within `EDGE_BAND` pixels; 0 where a batch has no edge."""

    def near(pixels: Tensor) -> Tensor:
        return F.max_pool2d(pixels, 2 * EDGE_BAND + 1, 1, EDGE_BAND)

    blurred = (target > 0.5).float()
    band = near(blurred * valid) * near((1 - blurred) * valid) * valid
    bce = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (bce * band).sum() / _count(band)


def _count(pixels: Tensor) -> Tensor:
    """How many pixels each process has on average: the mean of all losses is then that of one process."""
    return mean_over_processes(pixels.sum()).clamp(
        min=1e-6
    )  # without a pixel the sum above it is 0


def total_loss(config: LossConfig, maps: Maps, target: Tensor, valid: Tensor) -> Tensor:
    """The paper's loss plus what ``config`` gives a weight."""
    loss = side_loss(maps, target, valid)
    if config.iou:
        loss = loss + config.iou * iou_loss(maps.fused, target, valid)
    if config.edge:
        loss = loss + config.edge * edge_loss(maps.fused, target, valid)
    return loss
