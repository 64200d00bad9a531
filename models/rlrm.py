"""The residual refining unit (RLRM) and its exact fast form.

Both refine a map ``p`` of logits with a feature ``A``:  p + Phi([p ; up(A)]).
`Rlrm.forward` is the formula. `Rlrm.by_taps` gives the same result with the 3x3 convolution moved before
the upsampling, where a deep feature is up to 64 times smaller.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


def resize(x: Tensor, size: Size) -> Tensor:
    """Resize B x C x h x w to ``size`` (H, W), the paper's ``up``: bilinear, ``align_corners=False``."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Rlrm(nn.Module):
    """Residual refinement of a map of logits by a feature (Tang et al., IEEE TMM 2020).

    ``residual=False`` is the ablation without RLRM: the map is replaced instead of corrected.
    With more ``outputs``, the first one is the refined map; the others are returned as they are.
    """

    outputs = 1

    def __init__(self, channels: int, width: int = 128, *, residual: bool = True, outputs: int = 1) -> None:
        super().__init__()
        self.residual = residual
        self.outputs = outputs
        self.enter = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.body = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, outputs, 1),
        )

    def leave(self, p: Tensor, entered: Tensor) -> Tensor:
        """Run what follows the first convolution: ``entered`` (B x width x H x W) refines ``p``."""
        change: Tensor = self.body(entered)
        if not self.residual:
            return change
        if self.outputs == 1:
            return p + change
        return torch.cat([p + change[:, :1], change[:, 1:]], 1)

    def forward(self, p: Tensor, feature: Tensor) -> Tensor:
        """Refine ``p`` (B x 1 x H x W logits) by ``feature`` (B x C x H x W)."""
        return self.leave(p, self.enter(torch.cat([p, feature], 1)))

    def by_taps(self, p: Tensor, feature: Tensor) -> Tensor:
        """Refine ``p`` (B x 1 x H x W) by ``feature`` (B x C x h x w, any size): the same result, faster."""
        size = (p.shape[-2], p.shape[-1])
        return self.leave(p, self.enter_map(p) + self.enter_by_taps(feature, size))

    def enter_map(self, p: Tensor) -> Tensor:
        """Return the part of the first convolution that sees the map, with the bias; B x width x H x W."""
        return F.conv2d(p, self.enter.weight[:, :1], self.enter.bias, padding=1)

    def enter_feature(self, feature: Tensor) -> Tensor:
        """Return the part that sees the feature (B x C x H x W); both parts add up to the convolution."""
        return F.conv2d(feature, self.enter.weight[:, 1:], padding=1)

    def enter_by_taps(self, feature: Tensor, size: Size) -> Tensor:
        """Return the same part for a feature not yet enlarged to ``size`` (H, W); B x width x H x W.

        A 3x3 convolution is a sum of nine shifted 1x1 convolutions (taps), and 1x1 convolutions commute with
        bilinear resizing. So run the taps at the feature's own size, then resize, shift and add: first along
        the rows, where nine become three, then along the columns.
        """
        return self._down(self._across(F.conv2d(feature, self._taps()), size[1]), size[0])

    def _taps(self) -> Tensor:
        """Return the feature's weights as 9*O x C x 1 x 1, rows ordered (dx, dy, o)."""
        weight = self.enter.weight[:, 1:]  # O x C x 3 x 3: the map's channel is the first
        return weight.permute(3, 2, 0, 1).flatten(0, 2)[:, :, None, None]

    def _across(self, taps: Tensor, width: int) -> Tensor:
        """Enlarge the taps (B x 9*O x h x w) to ``width``, shift and add them in rows; B x 3*O x h x W."""
        # Zero padding of the convolution equals zero padding of the shifted taps.
        # Chunks of one tensor: with a fifth dimension for the taps, OpenVINO would reorder all of it.
        shifted = F.pad(resize(taps, (taps.shape[-2], width)), (1, 1)).chunk(3, 1)
        first, *others = (part[..., dx : dx + width] for dx, part in enumerate(shifted))
        return sum(others, first)

    def _down(self, rows: Tensor, height: int) -> Tensor:
        """Do the same along the columns: B x 3*O x h x W -> B x O x H x W."""
        shifted = F.pad(resize(rows, (height, rows.shape[-1])), (0, 0, 1, 1)).chunk(3, 1)
        first, *others = (part[..., dy : dy + height, :] for dy, part in enumerate(shifted))
        return sum(others, first)
