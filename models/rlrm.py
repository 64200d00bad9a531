"""The residual refining unit (RLRM) and its exact fast form.

Both refine a map ``p`` of logits with a feature ``A``:  p + Phi([p ; up(A)]).
`Rlrm.forward` is the formula. `Rlrm.by_taps` reaches the same result with the 3x3 convolution moved
in front of the upsampling, where a deep feature is up to 64 times smaller.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


def resize(x: Tensor, size: Size) -> Tensor:
    """``up`` of the paper: bilinear to ``size`` (H, W), ``align_corners=False``; B x C x h x w."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Rlrm(nn.Module):
    """Residual refining of a map of logits by a feature (Tang et al., IEEE TMM 2020).

    ``residual=False`` is the ablation without RLRM: the map is replaced instead of corrected.
    """

    def __init__(self, channels: int, width: int = 128, *, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.enter = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.body = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, 1, 1),
        )

    def _leave(self, p: Tensor, entered: Tensor) -> Tensor:
        change: Tensor = self.body(entered)
        return p + change if self.residual else change

    def forward(self, p: Tensor, feature: Tensor) -> Tensor:
        """Refine ``p`` (B x 1 x H x W logits) by ``feature`` (B x C x H x W)."""
        return self._leave(p, self.enter(torch.cat([p, feature], 1)))

    def by_taps(self, p: Tensor, feature: Tensor) -> Tensor:
        """Refine ``p`` (B x 1 x H x W) by ``feature`` (B x C x h x w, any size): the same result, faster.

        A 3x3 convolution is nine 1x1 convolutions (taps), each shifted, and 1x1 convolutions commute with
        bilinear resizing: run the taps at the feature's own size, resize, shift, add.
        """
        height, width = p.shape[-2:]
        weight = self.enter.weight  # O x (1 + C) x 3 x 3, the map's channel first
        taps = weight[:, 1:].permute(2, 3, 0, 1).flatten(0, 2)  # 9*O x C, rows ordered (dy, dx, o)
        lifted = resize(F.conv2d(feature, taps[:, :, None, None]), (height, width))
        # Zero padding of the convolution is zero padding of the shifted taps.
        # Parts of the one tensor: a fifth dimension for the taps makes OpenVINO reorder all of it.
        shifted = F.pad(lifted, (1, 1, 1, 1)).chunk(9, 1)
        entered = F.conv2d(p, weight[:, :1], self.enter.bias, padding=1)
        for tap, part in enumerate(shifted):
            dy, dx = divmod(tap, 3)
            entered = entered + part[..., dy : dy + height, dx : dx + width]
        return self._leave(p, entered)
