"""The refining of `refining` for pictures that lie on a GPU, in PyTorch.

A test holds it to the OpenCV form within rounding.
"""

from __future__ import annotations

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from .refining import BAND, DECIDED, EPSILON, PASSES, RADIUS, SHRUNK, RefineMode, small_size


def refine(image: Tensor, blur: Tensor, mode: RefineMode) -> Tensor:
    """``blur`` with its edges moved to those of ``image``; B x 1 x H x W.

    Args:
        image: float B x 3 x H x W RGB in [0, 1].
        blur: float B x 1 x H x W in [0, 1].
        mode: "off" gives ``blur`` itself, "best" takes three passes.
    """
    if mode == "off":
        return blur
    height, width = blur.shape[-2:]
    columns, rows = small_size(width, height)
    gray: Tensor = kornia.color.rgb_to_grayscale(image)
    down, across = _shares(height, rows).to(blur), _shares(width, columns).to(blur)
    guide, target = (down @ each @ across.T for each in (gray, blur))
    gain, offset = _linear(guide, target)
    for _ in range(PASSES[mode] - 1):
        gain, offset = _linear(guide, (gain * guide + offset).clamp(0, 1))
    large, base, share = (
        F.interpolate(each, (height, width), mode="bilinear", align_corners=False)
        for each in (gain, offset, _band(target))
    )
    return (blur + share * (large * gray + base - blur)).clamp(0, 1)


def _shares(length: int, shorter: int) -> Tensor:
    """Area averaging along one side, ``shorter`` x ``length`` (PyTorch's own lets its areas overlap)."""
    edges = torch.linspace(0, length, shorter + 1)
    places = torch.arange(length)
    inside = torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)
    return inside.clamp(min=0) * (shorter / length)


def _linear(guide: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    side = 2 * (RADIUS // SHRUNK) + 1
    mean_guide, mean_target = _mean(guide, side), _mean(target, side)
    covariance = _mean(guide * target, side) - mean_guide * mean_target
    variance = _mean(guide * guide, side) - mean_guide * mean_guide
    gain = covariance / (variance + EPSILON)
    return _mean(gain, side), _mean(mean_target - gain * mean_guide, side)


def _mean(values: Tensor, side: int) -> Tensor:
    edge = side // 2
    # PyTorch cannot reflect what is smaller than the window.
    border = "reflect" if min(values.shape[-2:]) > edge else "replicate"
    return F.avg_pool2d(F.pad(values, (edge,) * 4, mode=border), side, stride=1)


def _band(target: Tensor) -> Tensor:
    undecided = ((target > DECIDED[0]) & (target < DECIDED[1])).to(target)
    side = 2 * (BAND // SHRUNK) + 1
    return _mean(F.max_pool2d(undecided, side, stride=1, padding=side // 2), 3)
