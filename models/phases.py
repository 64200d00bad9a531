"""Bilinear enlargement by a whole factor, as one small convolution: the same result, several times faster.

A bilinear resize by a factor s (``align_corners=False``) computes output pixel s*y + i from the neighbours of
input pixel y, with weights that depend only on i. So each of the s*s phases (i, j) is a 3x3 convolution with
fixed weights. One convolution with s*s outputs computes all phases, and `pixel_shuffle` puts them in place.
Pixel-wise operations that follow (the fusion, the sigmoid) may come before the shuffle, on dense channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _weights(factor: int) -> Tensor:
    """Return factor x 3: the weights of phase i for the pixels y-1, y, y+1 (pixel centres lie at + 1/2)."""
    weights = torch.zeros(factor, 3, dtype=torch.float64)
    for i in range(factor):
        place = (i + 0.5) / factor - 0.5
        low = 0 if place < 0 else 1
        weights[i, low + 1] = place - (low - 1)
        weights[i, low] = 1 - weights[i, low + 1]
    return weights


def phase_kernel(factor: int, inner: int | None = None) -> Tensor:
    """Return the kernels (factor^2 x 1 x 3 x 3) of all phases, in the order of ``pixel_shuffle(factor)``.

    With ``inner``, a divisor of ``factor``, the order is that of two shuffles, first by ``factor // inner``,
    then by ``inner``. Between the two, the map matches the phases of a map that is enlarged by ``inner``.
    """
    rows = _weights(factor)
    kernels = torch.einsum("ia,jb->ijab", rows, rows)
    s = inner or factor
    r = factor // s
    ordered = kernels.reshape(r, s, r, s, 3, 3).permute(1, 3, 0, 2, 4, 5)
    return ordered.reshape(factor * factor, 1, 3, 3).float()


def shifted_phases(p: Tensor, kernel: Tensor) -> Tensor:
    """Compute `phases` as shifted multiply-adds, which a compiler fuses with what follows."""
    height, width = p.shape[-2:]
    around = F.pad(p, (1, 1, 1, 1), mode="replicate")
    parts = (
        around[..., dy : dy + height, dx : dx + width] * kernel[None, :, :, dy, dx, None]
        for dy in range(3)
        for dx in range(3)
    )
    return sum(parts, next(parts))


def phases(p: Tensor, kernel: Tensor) -> Tensor:
    """Return all phases of ``p`` (B x 1 x H x W) as B x factor^2 x H x W; borders repeat, as in a resize."""
    return F.conv2d(F.pad(p, (1, 1, 1, 1), mode="replicate"), kernel)
