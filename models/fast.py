"""The inference form of BR2Net: pixels in, probability out, the same function in less time.

Folded BatchNorm, the tap rewrite where it pays, no side maps. `InferenceNet` takes pictures as they
come (uint8 BGR), so that every backend gets the input scale from the same place.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .br2net import BR2Net
from .checkpoint import InputScale
from .rlrm import Rlrm, Size, resize

GRID = 32  # the deepest tap's stride: sides that it divides keep all taps aligned
# Channels whose convolution at the larger size costs as much as resizing and adding nine taps there
# (measured in tests/models/test_rlrm.py: 256 channels at twice the size lose a little, 2048 win nine times).
TAPS_COST = 256


def network_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Width and height at which a picture of ``size`` (width, height) goes through the network.

    The longer side becomes ``long_side`` and both become multiples of 32. A smaller picture is not
    enlarged: enlarging looks like blur.
    """
    scale = min(1.0, long_side / max(size))
    width, height = (max(GRID, round(side * scale / GRID) * GRID) for side in size)
    return width, height


def fold_batchnorm(net: nn.Module) -> None:
    """Fold every BatchNorm that directly follows a convolution into it, in place; ``net`` is in eval."""
    children = list(net.named_children())
    for (name, child), (next_name, follower) in pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(net, name, fuse_conv_bn_eval(child, follower))
            setattr(net, next_name, nn.Identity())
    for child in net.children():
        fold_batchnorm(child)


def fold_rlrm(unit: Rlrm) -> None:
    """The same for a refining unit, whose first convolution and BatchNorm lie in two places."""
    norm = unit.body[0]
    if isinstance(norm, nn.BatchNorm2d):
        unit.enter = fuse_conv_bn_eval(unit.enter, norm)
        unit.body[0] = nn.Identity()


def refine(unit: Rlrm, p: Tensor, feature: Tensor) -> Tensor:
    """One step of the L2H pathway: ``feature`` (B x C x h x w) refines ``p`` (B x 1 x H x W)."""
    size = (p.shape[-2], p.shape[-1])
    share = (feature.shape[-2] * feature.shape[-1]) / (size[0] * size[1])
    if feature.shape[1] * (1 - share) > TAPS_COST:
        return unit.by_taps(p, feature)
    refined: Tensor = unit(p, resize(feature, size))
    return refined


class InferenceNet(nn.Module):
    """``net`` as an engine runs it: uint8 BGR B x H x W x 3 -> P(blurred), float B x H x W in [0, 1].

    ``net`` itself is not changed. Sides of 32 pixels and more are meant; others work.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, net: BR2Net, scale: InputScale) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        for unit in self.net.modules():
            if isinstance(unit, Rlrm):
                fold_rlrm(unit)
        fold_batchnorm(self.net)
        mean = torch.tensor(scale.mean).view(1, 3, 1, 1)
        gain = 1 / (255 * torch.tensor(scale.std).view(1, 3, 1, 1))
        self.register_buffer("gain", gain)
        self.register_buffer("offset", -mean * 255 * gain)

    def forward(self, pictures: Tensor) -> Tensor:
        """Run the network (see the class); the dtype inside is that of the weights."""
        x = pictures.flip(-1).permute(0, 3, 1, 2).to(self.gain.dtype) * self.gain + self.offset
        size = (x.shape[-2], x.shape[-1])
        a = self.net.attended(x)
        u, v = self._last_l2h(a), self._last_h2l(a)
        logits = self.net.fusion(resize(u, size), resize(v, size))
        return torch.sigmoid(logits)[:, 0]

    def _last_l2h(self, a: list[Tensor]) -> Tensor:
        p: Tensor = self.net.l2h_start(a[0])
        for unit, feature in zip(self.net.l2h, a[1:], strict=True):
            assert isinstance(unit, Rlrm)
            p = refine(unit, p, feature)
        return p

    def _last_h2l(self, a: list[Tensor]) -> Tensor:
        size: Size = self.net.size_h2l(a)
        p = self.net.shrink(self.net.h2l_start(a[4]), size)
        for unit, feature in zip(self.net.h2l, a[3::-1], strict=True):
            p = unit(p, self.net.shrink(feature, size))
        return p
