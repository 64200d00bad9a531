"""The refinement of `refining` for images on a GPU: the same linear fits, with means in PyTorch.

A test requires it to match the OpenCV version within rounding.
"""

from __future__ import annotations

from functools import partial

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from br2focus.realtime.resizing import halvings

from .refining import (
    COLOUR,
    RADIUS,
    REACH,
    SHRUNK,
    RefineMode,
    edge_share,
    nearest_line,
    nearest_lines,
    small_size,
)


def refine(image: Tensor, blur: Tensor, mode: RefineMode, *, keep: bool = False) -> Tensor:
    """Return ``blur`` at the size of ``image``, edges aligned with those of the image; B x 1 x H x W.

    Args:
        image: float B x 3 x H x W RGB in [0, 1].
        blur: float B x 1 x h x w in [0, 1], at any size.
        mode: as in `refining.refine`.
        keep: keep everything in focus, as for maps derived from blur radii.
    """
    height, width = image.shape[-2:]
    whole = _sized(blur, (width, height))
    if mode == "off":
        return whole.clamp(max=1)
    size = small_size(width, height, mode)
    gray: Tensor = (255 * kornia.color.rgb_to_grayscale(image)).round() / 255  # rounded as in OpenCV
    luma, start = _small(gray, size), _small(blur, size)
    mean = partial(_mean, reach=RADIUS // SHRUNK[mode])
    if mode == "fast":
        gain, offset = nearest_line(luma, start, mean)
    else:
        colour = COLOUR * _small(image[:, :1] - image[:, 2:], size)
        gain, offset = nearest_lines(luma, colour, start, mean)
    share = _edges(start, mode)
    change = _sized(share * gain, (width, height)) * gray
    fine = whole + change + _sized(share * (offset - start), (width, height))
    return (torch.minimum(fine, whole) if keep else fine).clamp(0, 1)


def _sized(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size[::-1], mode="bilinear", align_corners=False)


def _small(values: Tensor, size: tuple[int, int]) -> Tensor:
    for step in halvings(values.shape[-1], values.shape[-2], size):
        values = _sized(values, step)
    return values


def _mean(values: Tensor, reach: int) -> Tensor:
    # PyTorch cannot reflect an image that is smaller than the window.
    border = "reflect" if min(values.shape[-2:]) > reach else "replicate"
    return F.avg_pool2d(F.pad(values, (reach,) * 4, mode=border), 2 * reach + 1, stride=1)


def _edges(values: Tensor, mode: RefineMode) -> Tensor:
    reach = REACH // SHRUNK[mode]
    side = 2 * reach + 1
    high = F.max_pool2d(values, side, stride=1, padding=reach)
    low = -F.max_pool2d(-values, side, stride=1, padding=reach)
    return _mean(edge_share(high - low), 1)
