"""The paper's loss, and what its authors propose to add to it.

Targets are P(blurred) in [0, 1], B x 1 x H x W; ``valid`` is 1 where a pixel has a label.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from br2focus.models.br2net import Maps
from br2focus.models.detail import Blur, log_limit
from br2focus.models.rlrm import resize

from .config import LossConfig
from .data import Batch
from .distributed import mean_over_processes

EDGE_BAND = 5  # pixels on each side of the mask's edge


def side_loss(maps: Maps, target: Tensor, valid: Tensor) -> Tensor:
    """Return the paper's loss: the mean BCE with logits over valid pixels, summed over the eleven maps."""
    losses = [
        (F.binary_cross_entropy_with_logits(m.float(), target, reduction="none") * valid).sum()
        for m in maps.all()
    ]
    return torch.stack(losses).sum() / _count(valid)


def iou_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - soft intersection over union, the mean over batch and both classes (Mattyus et al. 2017).

    A class that is absent from a picture costs nothing; otherwise a single wrong pixel would cost everything.
    A soft target counts as the nearer class: with a soft target, this loss is not smallest at the target.
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
    """Return the mean BCE where both classes are within `EDGE_BAND` pixels; 0 if a batch has no edge."""

    def near(pixels: Tensor) -> Tensor:
        return F.max_pool2d(pixels, 2 * EDGE_BAND + 1, 1, EDGE_BAND)

    blurred = (target > 0.5).float()
    band = near(blurred * valid) * near((1 - blurred) * valid) * valid
    bce = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (bce * band).sum() / _count(band)


def _count(pixels: Tensor) -> Tensor:
    """Return the mean number of pixels per process: the mean of all losses is then that of one process."""
    return mean_over_processes(pixels.sum()).clamp(min=1e-6)  # without a pixel, the sum that it divides is 0


def reference(log_softness: Tensor, known: Tensor, told: Tensor) -> Tensor:
    """Return the ln softness that P is judged by: the true one if ``told`` and known, else the picture's.

    In a clip, the reference comes from other frames. A network that only ever saw its own reference would not
    know what to do with another.

    Args:
        log_softness: the picture's own (`Blur.reference`), B.
        known: the true softness, B, NaN if unknown.
        told: whether to use the true softness, bool B.
    """
    return torch.where(told & known.isfinite(), torch.nan_to_num(known, nan=1.0).log(), log_softness)


def radius_loss(blur: Blur, radius: Tensor, softness: Tensor, limits: Tensor) -> Tensor:
    """Return the error of ln radius, and of P(radius > limit) at ``limits``, where the radius is known.

    Averaged over all limits, the second is the continuous ranked probability score, which is smallest if the
    predicted distribution is the true one (Gneiting and Raftery, JASA 2007).

    Args:
        blur: the prediction, at half the size of ``radius``.
        radius: beyond the softness, B x 1 x N x N, NaN if unknown.
        softness: B, NaN if unknown.
        limits: ln of some radii in pixels of the frame.
    """
    # The smallest radius of each 2 x 2; otherwise every second thin structure would be lost.
    least = -F.max_pool2d(-torch.nan_to_num(radius, nan=torch.inf), 2)
    radius = least.masked_fill(least.isinf(), torch.nan)
    whole = (radius.square() + softness[:, None, None, None].square()).log() / 2
    valid = whole.isfinite().float()
    whole = torch.nan_to_num(whole)
    error = F.smooth_l1_loss(blur.log_radius.float(), whole, reduction="none", beta=0.3)
    for limit in limits:
        logits = blur.logits(limit).float()
        above = (whole > limit).float()
        error = error + F.binary_cross_entropy_with_logits(logits, above, reduction="none")
    return (error * valid).sum() / _count(valid)


def softness_loss(log_softness: Tensor, known: Tensor) -> Tensor:
    """Return the error of ln softness (B) where it is known; 0 if a batch has none."""
    valid = known.isfinite().float()
    truth = torch.nan_to_num(known, nan=1.0).log()
    error = F.smooth_l1_loss(log_softness.float(), truth, reduction="none", beta=0.2)
    return (error * valid).sum() / _count(valid)


def detail_loss(
    config: LossConfig,
    maps: Maps,
    batch: Batch,
    target: Tensor,
    valid: Tensor,
    random: torch.Generator,
) -> Tensor:
    """Return the loss of a network with ``detail``: P at the usual limit, radius, softness, the side maps."""
    blur = maps.blur
    assert blur is not None
    half = [F.avg_pool2d(plane, 2) for plane in (target, valid)]
    some = (half[1] > 0.99).float()
    told = torch.rand(len(batch.softness), generator=random).to(target.device) < 0.5
    known = batch.softness * torch.randn(len(told), generator=random).mul(0.15).exp()
    width = batch.width.to(target.device)
    softness = reference(blur.reference(width).float(), known.to(target.device), told)
    limit = log_limit(softness, width)[:, None, None, None]
    logits = resize(blur.logits(limit).float(), (target.shape[-2], target.shape[-1]))
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    limits = torch.rand(3, generator=random) * (math.log(40) - math.log(0.5)) + math.log(0.5)
    true = batch.softness.to(target.device)
    return (
        config.side * side_loss(maps, half[0], some)
        + config.blur * (bce * valid).sum() / _count(valid)
        + config.iou * iou_loss(logits, target, valid)
        + config.edge * edge_loss(logits, target, valid)
        + config.radius * radius_loss(blur, batch.radius.to(target.device), true, limits)
        + config.softness * softness_loss(blur.log_softness, true)
    )


def total_loss(config: LossConfig, maps: Maps, target: Tensor, valid: Tensor) -> Tensor:
    """Return the paper's loss plus the terms to which ``config`` gives a weight."""
    loss = config.side * side_loss(maps, target, valid)
    if config.iou:
        loss = loss + config.iou * iou_loss(maps.fused, target, valid)
    if config.edge:
        loss = loss + config.edge * edge_loss(maps.fused, target, valid)
    return loss
