"""The refining of `refining` for pictures that lie on a GPU, in PyTorch.

A test holds it to the OpenCV form within rounding.
"""

from __future__ import annotations

from functools import partial

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from .refining import (
    COLOUR,
    EPSILON,
    PASSES,
    RADIUS,
    REACH,
    SHARPER,
    SHRUNK,
    SPANS,
    RefineMode,
    small_size,
)
from .resizing import halvings


def refine(image: Tensor, blur: Tensor, mode: RefineMode) -> Tensor:
    """``blur`` with its edges moved to those of ``image``; B x 1 x H x W.

    Args:
        image: float B x 3 x H x W RGB in [0, 1].
        blur: float B x 1 x H x W in [0, 1].
        mode: as in `refining.refine`.
    """
    if mode == "off":
        return blur
    height, width = blur.shape[-2:]
    size = small_size(width, height, mode)
    gray: Tensor = (255 * kornia.color.rgb_to_grayscale(image)).round() / 255  # as OpenCV has it
    luma, start = _small(gray, size), _small(blur, size)
    if mode == "fast":
        gain, offset = _line(luma, start)
    else:
        gain, offset = _best(luma, COLOUR * _small(image[:, :1] - image[:, 2:], size), start)
    share = _edges(start, mode)
    change = _sized(share * gain, (width, height)) * gray
    return (blur + change + _sized(share * (offset - start), (width, height))).clamp(0, 1)


def _sized(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size[::-1], mode="bilinear", align_corners=False)


def _small(values: Tensor, size: tuple[int, int]) -> Tensor:
    for step in halvings(values.shape[-1], values.shape[-2], size):
        values = _sized(values, step)
    return values


def _line(luma: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    mean = partial(_mean, reach=RADIUS // SHRUNK["fast"])
    mean_luma, mean_target = mean(luma), mean(target)
    covariance = mean(luma * target) - mean_luma * mean_target
    variance = mean(luma * luma) - mean_luma * mean_luma
    gain = covariance / (variance + EPSILON["fast"])
    return mean(gain), mean(mean_target - gain * mean_luma)


def _best(luma: Tensor, colour: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    mean = partial(_mean, reach=RADIUS // SHRUNK["best"])
    mean_luma, mean_colour = mean(luma), mean(colour)
    first = mean(luma * luma) - mean_luma * mean_luma + EPSILON["best"]
    second = mean(colour * colour) - mean_colour * mean_colour + EPSILON["best"]
    both = mean(luma * colour) - mean_luma * mean_colour
    determinant = first * second - both * both
    gain, offset = torch.zeros_like(target), target
    for number in range(PASSES):
        if number:
            target = (SHARPER * (gain * luma + offset - 0.5) + 0.5).clamp(0, 1)
        mean_target = mean(target)
        with_luma = mean(luma * target) - mean_luma * mean_target
        with_colour = mean(colour * target) - mean_colour * mean_target
        gain = (with_luma * second - with_colour * both) / determinant
        tint = (with_colour * first - with_luma * both) / determinant
        offset = mean(mean_target - gain * mean_luma - tint * mean_colour)
        offset, gain = offset + mean(tint) * colour, mean(gain)
    return gain, offset


def _mean(values: Tensor, reach: int) -> Tensor:
    # PyTorch cannot reflect what is smaller than the window.
    border = "reflect" if min(values.shape[-2:]) > reach else "replicate"
    return F.avg_pool2d(F.pad(values, (reach,) * 4, mode=border), 2 * reach + 1, stride=1)


def _edges(values: Tensor, mode: RefineMode) -> Tensor:
    reach = REACH // SHRUNK[mode]
    side = 2 * reach + 1
    high = F.max_pool2d(values, side, stride=1, padding=reach)
    low = -F.max_pool2d(-values, side, stride=1, padding=reach)
    return _mean(((high - low - SPANS[0]) / (SPANS[1] - SPANS[0])).clamp(0, 1), 1)
