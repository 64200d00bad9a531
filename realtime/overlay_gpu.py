"""The overlays of `overlay` for pictures that lie on a GPU, in PyTorch and kornia.

Pictures are float B x 3 x H x W RGB in [0, 1], maps float B x 1 x H x W. The tests hold each function to
its OpenCV form within rounding.
"""

from __future__ import annotations

import cv2
import kornia
import numpy as np
import torch
from torch import Tensor

from .overlay import COLOUR_MAP, OverlayStyle, outline_widths, stripes


def heat(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """The map in colours over the picture: yellow in focus, violet blurred; B x 3 x H x W."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], COLOUR_MAP)[0, :, ::-1]
    colours = torch.from_numpy(table.copy()).to(image) / 255
    level = ((1 - blur[:, 0]) * 255).round().long().clamp(0, 255)
    return style.opacity * colours[level].permute(0, 3, 1, 2) + (1 - style.opacity) * image


def mask(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """What is blurred becomes dark and gray, what is in focus stays as it is; B x 3 x H x W."""
    gray = kornia.color.rgb_to_grayscale(image)
    dark = (1 - style.opacity) * image + style.opacity * 0.45 * gray
    return torch.where(blur >= 0.5, dark, image)


def edges(image: Tensor) -> Tensor:
    """Gradient magnitude of the luma by the Sobel operator, in 1/255 a pixel; B x 1 x H x W."""
    gray = kornia.color.rgb_to_grayscale(image) * 255
    gradient: Tensor = kornia.filters.spatial_gradient(gray, "sobel", normalized=True)[:, 0]
    magnitude: Tensor = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    return magnitude


def peaking(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """Colour on the edges that are in focus; B x 3 x H x W."""
    colour = torch.tensor(style.colour[::-1]).to(image).view(1, 3, 1, 1) / 255
    if style.stripes:
        dark = torch.from_numpy(stripes(image.shape[3], image.shape[2])).to(image.device)
        colour = torch.where(dark, torch.zeros_like(colour), colour)
    peaked = (edges(image) >= style.threshold) & (blur < 0.5)
    return torch.where(peaked, colour, image)


def outline(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """A line around what is in focus (the border P = .5), dark-edged; B x 3 x H x W."""
    focused = (blur < 0.5).to(image)
    line, edge = (
        kornia.morphology.dilation(focused, torch.ones(side, side).to(image)) > focused
        for side in outline_widths(image.shape[3])
    )
    colour = torch.tensor(style.colour[::-1]).to(image).view(1, 3, 1, 1) / 255
    return torch.where(line, colour, torch.where(edge, torch.zeros_like(image), image))


def side_by_side(image: Tensor, blur: Tensor, style: OverlayStyle) -> Tensor:
    """The picture and its heat map next to each other; B x 3 x H x 2W."""
    return torch.cat([image, heat(image, blur, style)], 3)
