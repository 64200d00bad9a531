"""The overlays of `overlay` for images on a GPU, in PyTorch and kornia.

Images are float B x 3 x H x W RGB in [0, 1], maps float B x 1 x H x W. Tests require each function to match
its OpenCV version within rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from br2focus.realtime.overlay_style import Ground, OverlayStyle

from .legend import colour_table
from .overlay import (
    GRADIENT_NOISE,
    MIN_BLURRED,
    NOISE_ANSWER,
    PARTS,
    SAMPLED,
    outline_widths,
    second_differences,
    striped,
)


def heat(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Draw the map in colours over the image: yellow in focus, violet blurred; B x 3 x H x W."""
    colours = _constant(colour_table, device=image.device)[:, 0].flip(1).to(image) / 255
    level = ((1 - blur[:, 0]) * 255).round().long().clamp(0, 255)
    ground = grounded(image, style.ground)
    return style.opacity * colours[level].permute(0, 3, 1, 2) + (1 - style.opacity) * ground


def mask(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Darken and desaturate what is blurred; keep what is in focus; B x 3 x H x W."""
    gray = grounded(image, "gray")
    dark = (1 - style.opacity) * image + style.opacity * 0.45 * gray
    if style.ground == "alone":
        dark = torch.zeros_like(image)
    return torch.where(blur >= 0.5, dark, gray if style.ground == "gray" else image)


def edges(image: Tensor) -> Tensor:
    """Return the Sobel gradient magnitude of the luma, in 1/255 per pixel; B x 1 x H x W."""
    gray = kornia.color.rgb_to_grayscale(image) * 255
    # kornia's own gradient copies its kernel from the host in every call.
    kernels = _constant(_sobel, device=image.device)
    gradient = F.conv2d(F.pad(gray, (1, 1, 1, 1), mode="replicate"), kernels)
    magnitude: Tensor = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    return magnitude


def peaking(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Colour the edges that are in focus; B x 3 x H x W."""
    strength, in_focus = edges(image), blur < 0.5
    threshold = peaking_threshold(image, blur, style)
    drawn = grounded(image, style.ground)
    for level in range(style.levels):
        colour = _colour(style.shade(level), image)
        if style.stripes:
            dark = _stripes(image.shape[3], image.shape[2], image.device)
            colour = torch.where(dark, torch.zeros_like(colour), colour)
        drawn = torch.where((strength >= threshold * 2**level) & in_focus, colour, drawn)
    return drawn


def peaking_threshold(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Return the smallest gradient that is peaked in each image: B x 1 x 1 x 1."""
    gate = style.noise_gate * GRADIENT_NOISE * noise(image, blur)
    threshold = gate.clamp(min=style.threshold)
    if style.strongest < 1:
        strength = edges(image)[..., ::SAMPLED, ::SAMPLED]
        missing = torch.full_like(strength, math.nan)
        seen = torch.where(blur[..., ::SAMPLED, ::SAMPLED] < 0.5, strength, missing).flatten(1)
        share = torch.nanquantile(seen, 1 - style.strongest, dim=1).nan_to_num(0)
        threshold = threshold.maximum(share)
    return threshold.view(-1, 1, 1, 1)


def noise(image: Tensor, blur: Tensor) -> Tensor:
    """Estimate the standard deviation of the sensor noise in the luma of each image, in 1/255: B."""
    gray = kornia.color.rgb_to_grayscale(image) * 255
    answer = second_differences(gray).abs()
    if not answer.numel():
        return gray.new_zeros(len(gray))
    blurred = (blur[..., 1:-1:SAMPLED, 1:-1] >= 0.5).to(gray)
    inside = (answer * blurred).sum((1, 2, 3)) / blurred.sum((1, 2, 3)).clamp(min=1)
    parts = answer.tensor_split(min(answer.shape[2], PARTS), 2)
    flattest = torch.stack([part.mean((1, 2, 3)) for part in parts]).amin(0)
    enough = blurred.mean((1, 2, 3)) >= MIN_BLURRED
    return math.sqrt(math.pi / 2) / NOISE_ANSWER * torch.where(enough, inside, flattest)


def grounded(image: Tensor, ground: Ground) -> Tensor:
    """Return the background of an overlay: ``image`` itself, its gray version, or black; B x 3 x H x W."""
    if ground == "colour":
        return image
    if ground == "alone":
        return torch.zeros_like(image)
    return kornia.color.rgb_to_grayscale(image).expand_as(image)


def outline(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Draw a dark-edged line around what is in focus (P = 0.5); B x 3 x H x W."""
    focused = (blur < 0.5).to(image)
    line, edge = (_grown(focused, side) > focused for side in outline_widths(image.shape[3]))
    colour = _colour(style.colour, image)
    ground = grounded(image, style.ground)
    return torch.where(line, colour, torch.where(edge, torch.zeros_like(image), ground))


def _grown(mask: Tensor, side: int) -> Tensor:
    """Dilate by a square; kornia's dilation allocates side x side floats per pixel on a GPU."""
    rows = F.max_pool2d(mask, (side, 1), stride=1, padding=(side // 2, 0))
    return F.max_pool2d(rows, (1, side), stride=1, padding=(0, side // 2))


def side_by_side(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Return the image next to its heat map; B x 3 x H x 2W."""
    return torch.cat([image, heat(image, blur, style)], 3)


def _stripes(width: int, height: int, device: torch.device) -> Tensor:
    """Return `overlay.stripes` on the device of the image: bool H x W."""
    y, x = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    dark: Tensor = striped(x + y)
    return dark


@cache  # unbounded: CUDA graphs read the constants as long as they live, and they are small
def _constant(make: Callable[..., NDArray[Any]], *given: Hashable, device: torch.device) -> Tensor:
    """Return the result of ``make`` as a tensor that stays on the device.

    A copy from the host waits for all work queued before it, and cannot be part of a CUDA graph.
    """
    return torch.from_numpy(np.array(make(*given))).to(device)


def _colour(bgr: tuple[int, int, int], image: Tensor) -> Tensor:
    """Return a BGR colour as RGB in [0, 1], 1 x 3 x 1 x 1."""
    return _constant(np.array, bgr, device=image.device).flip(0).to(image).view(1, 3, 1, 1) / 255


def _sobel() -> NDArray[np.float32]:
    """Return the kernels for both directions, 2 x 1 x 3 x 3, normalized for one level per pixel."""
    across = np.outer([1, 2, 1], [-1, 0, 1]) / 8
    return np.stack([across, across.T])[:, None].astype(np.float32)
