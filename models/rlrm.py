"""The residual refining unit (RLRM) and its exact fast form.

Both refine a map ``p`` of logits with a feature ``A``:  p + Phi([p ; up(A)]).
`Rlrm.forward` is the formula. `Rlrm.by_taps` reaches the same result with the 3x3 convolution moved
in front of the upsampling, where a deep feature is up to 64 times smaller. `PointwiseRlrm` is for compilers.
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
        lifted = resize(F.conv2d(feature, self._taps()), (height, width))
        # Zero padding of the convolution is zero padding of the shifted taps.
        # Parts of the one tensor: a fifth dimension for the taps makes OpenVINO reorder all of it.
        shifted = F.pad(lifted, (1, 1, 1, 1)).chunk(9, 1)
        entered = self._enter_map(p)
        for tap, part in enumerate(shifted):
            dy, dx = divmod(tap, 3)
            entered = entered + part[..., dy : dy + height, dx : dx + width]
        return self._leave(p, entered)

    def _taps(self) -> Tensor:
        """The feature's weights as 9*O x C x 1 x 1, rows ordered (dy, dx, o)."""
        weight = self.enter.weight[:, 1:]  # O x C x 3 x 3: the map's channel is the first
        return weight.permute(2, 3, 0, 1).flatten(0, 2)[:, :, None, None]

    def _enter_map(self, p: Tensor) -> Tensor:
        """The part of the first convolution that sees the map, with the bias."""
        return F.conv2d(p, self.enter.weight[:, :1], self.enter.bias, padding=1)


class PointwiseRlrm(Rlrm):
    """A unit for compilers that fuse what is done element by element: the same result in fewer kernels.

    The map's one channel enters by nine multiply-adds, which the compiler makes part of what follows. A
    convolution of C + 1 channels is padded to the next eight by cuDNN, which costs as much again. Weights are
    cut and ordered once, not in every call.
    """

    def __init__(self, unit: Rlrm) -> None:
        nn.Module.__init__(self)
        self.residual, self.body, self.enter = unit.residual, unit.body, unit.enter
        self.taps = nn.Parameter(unit._taps().contiguous(), requires_grad=False)
        weight = unit.enter.weight
        self.of_feature = nn.Parameter(weight[:, 1:].contiguous(), requires_grad=False)
        of_map = weight[:, 0].flatten(1).T[:, :, None, None].contiguous()  # 9 x O x 1 x 1
        self.of_map = nn.Parameter(of_map, requires_grad=False)

    def forward(self, p: Tensor, feature: Tensor) -> Tensor:
        """See `Rlrm.forward`."""
        entered = F.conv2d(feature, self.of_feature, padding=1) + self._enter_map(p)
        return self._leave(p, entered)

    def _taps(self) -> Tensor:
        return self.taps

    def _enter_map(self, p: Tensor) -> Tensor:
        height, width = p.shape[-2:]
        around = F.pad(p, (1, 1, 1, 1))
        assert self.enter.bias is not None
        entered: Tensor = self.enter.bias.view(1, -1, 1, 1)
        for tap, weight in enumerate(self.of_map):
            dy, dx = divmod(tap, 3)
            entered = entered + around[..., dy : dy + height, dx : dx + width] * weight
        return entered
