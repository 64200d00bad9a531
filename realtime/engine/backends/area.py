"""`shrink` and luma in PyTorch for images on a GPU: the same averages, within one level."""

from __future__ import annotations

import torch
from torch import Tensor

from . import block_side


class AreaShrink:
    """Downscales images from ``frame_size`` (width, height) to ``size``, which must not be larger.

    A call takes uint8 B x H x W x 3 and returns integer levels as float32 B x h x w x 3. Like `shrink`, it
    starts with whole blocks of pixels if they fit. The rest is two matrix products with the share of each
    input row or column in each output pixel.
    """

    def __init__(self, frame_size: tuple[int, int], size: tuple[int, int], device: torch.device) -> None:
        (width, height), (self._width, self._height) = frame_size, size
        self._block = block_side(frame_size, size)
        self._across = _shares(width // self._block, size[0]).T.to(device)
        self._down = _shares(height // self._block, size[1]).to(device)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Downscale a batch of images (see the class)."""
        pixels = self._in_blocks(pictures)
        count, height, width = pixels.shape[:3]
        if (width, height) == (self._width, self._height):
            return pixels
        rows = self._down @ pixels.reshape(count, height, 3 * width)
        rows = rows.view(count, self._height, width, 3).transpose(2, 3)
        return (rows @ self._across).transpose(2, 3).round()

    def _in_blocks(self, pictures: Tensor) -> Tensor:
        block = self._block
        if block == 1:
            return pictures.float()
        count, height, width = pictures.shape[:3]
        cut = pictures.view(count, height // block, block, width // block, block, 3)
        mean = cut.sum((2, 4), dtype=torch.float32) / block**2
        # OpenCV rounds halves up for blocks of two, and to even otherwise.
        return (mean + 0.5).floor() if block == 2 else mean.round()


def _shares(pixels: int, outputs: int) -> Tensor:
    """Return the share of every pixel in every output: ``outputs`` x ``pixels``, rows sum to 1."""
    step = pixels / outputs
    begin = step * torch.arange(outputs, dtype=torch.float64)[:, None]
    at = torch.arange(pixels, dtype=torch.float64)
    covered = torch.minimum(begin + step, at + 1) - torch.maximum(begin, at)
    return (covered.clamp(min=0) / step).float()


def luma_of(pictures: Tensor) -> Tensor:
    """Return the luma of uint8 BGR images, B x H x W x 3 -> uint8 B x H x W; identical to OpenCV's."""
    blue, green, red = pictures.int().unbind(-1)
    return ((3735 * blue + 19235 * green + 9798 * red + 16384) >> 15).to(torch.uint8)
