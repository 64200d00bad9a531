"""The inference form of BR2Net, from pixels to probability: the same function in less time.

It has no side maps, and every rewrite is exact. BatchNorm and the input's scale are folded into convolutions.
The refining units of deep features apply their taps before the upsampling. The last enlargement is a
convolution. `InferenceNet` takes raw pictures (uint8 BGR), so that every backend gets the same input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .br2net import BR2Net
from .config import InputScale
from .phases import phase_kernel, phases
from .rlrm import Rlrm, Size, resize
from .sizes import GRID

# Number of channels at which a convolution at the larger size costs as much as resizing and adding nine taps
# (measured in tests/models/test_rlrm.py: at twice the size, 256 channels get a little slower with taps, 2048
# get nine times faster).
TAPS_COST = 256
MAX_CELLS = 2048 // GRID


def fold_batchnorm(net: nn.Module) -> None:
    """Fold every BatchNorm that directly follows a convolution into it, in place; ``net`` is in eval mode."""
    children = list(net.named_children())
    for (name, child), (next_name, follower) in pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(net, name, fuse_conv_bn_eval(child, follower))
            setattr(net, next_name, nn.Identity())
    for child in net.children():
        fold_batchnorm(child)


def fold_rlrm(unit: Rlrm) -> None:
    """Do the same for a refining unit, whose first convolution and BatchNorm are in separate modules.

    A PReLU with one slope becomes a leaky ReLU: backends merge known slopes into the convolution.
    """
    norm = unit.body[0]
    if isinstance(norm, nn.BatchNorm2d):
        unit.enter = fuse_conv_bn_eval(unit.enter, norm)
        unit.body[0] = nn.Identity()
    for name, child in unit.body.named_children():
        if isinstance(child, nn.PReLU) and child.num_parameters == 1:
            setattr(unit.body, name, nn.LeakyReLU(child.weight.item()))


def fold_input(net: BR2Net, scale: InputScale) -> Tensor:
    """Fold the order and the scale of the channels into the first convolution, in place.

    Returns:
        The mean that is still to be subtracted from uint8 BGR pixels: one value, or one per channel
        (1 x 1 x 1 x 3). It cannot go into the bias: the convolution pads its input with zeros, which must
        remain the mean.
    """
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    std = 255 * torch.tensor(scale.std).flip(0).view(1, 3, 1, 1)
    first.weight = nn.Parameter(first.weight.detach().flip(1) / std, requires_grad=False)
    mean = 255 * torch.tensor(scale.mean).flip(0)
    return mean[0] if bool((mean == mean[0]).all()) else mean.view(1, 1, 1, 3)


class InferenceNet(nn.Module):
    """``net`` as an engine runs it: uint8 BGR B x H x W x 3 -> P(blurred), float B x H x W in [0, 1].

    ``net`` itself is not changed. Sides that are multiples of 32 are fast; others also work.
    """

    mean: Tensor
    kernel_u: Tensor
    kernel_v: Tensor

    def __init__(self, net: BR2Net, scale: InputScale) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        for unit in self.net.modules():
            if isinstance(unit, Rlrm):
                fold_rlrm(unit)
        fold_batchnorm(self.net)
        self.register_buffer("mean", fold_input(self.net, scale))
        self._set_strides()

    @torch.inference_mode()
    def _set_strides(self) -> None:
        """Set what depends only on the strides of the taps, so that one exported graph serves every size."""
        side = 2 * GRID
        a = self.net.attended(torch.zeros(1, 3, side, side))
        at = a[0].shape[-1]
        self.by_taps = [f.shape[1] * (1 - (f.shape[-1] / at) ** 2) > TAPS_COST for f in a[1:]]
        self.stride = side // at
        self.strides = [side // feature.shape[-1] for feature in a]
        self.stride_v = stride_v = side // self.net.size_h2l(a)[1]
        self.ratio = stride_v // self.stride
        self.phases: Callable[[Tensor, Tensor], Tensor] = phases
        self.register_buffer("kernel_u", phase_kernel(self.stride))
        self.register_buffer("kernel_v", phase_kernel(stride_v, self.stride))

    def forward(self, pictures: Tensor) -> Tensor:
        """Run the network (see the class) in the dtype of its weights."""
        a = self._features(pictures)
        size = (pictures.shape[1], pictures.shape[2])
        return self.joined(self._last_l2h(a), self._last_h2l(a), size)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Return A1..A5."""
        taps = [self.first(pictures)]
        for number in range(1, 5):
            taps.append(self.deeper(number, taps[-1]))
        return [self.attended(number, tap) for number, tap in enumerate(taps)]

    # The steps of `forward`, for backends that run them in another order.

    def first(self, pictures: Tensor) -> Tensor:
        """Return the first tap of the backbone."""
        x = (pictures.to(self.mean.dtype) - self.mean).permute(0, 3, 1, 2)
        tap: Tensor = self.net.backbone.stages[0](x)
        return tap

    def deeper(self, number: int, tap: Tensor) -> Tensor:
        """Return tap ``number`` (1 to 4), computed from the previous one."""
        found: Tensor = self.net.backbone.stages[number](tap)
        return found

    def attended(self, number: int, tap: Tensor) -> Tensor:
        """Return tap ``number`` after attention and reduction: the feature of both pathways."""
        feature: Tensor = self.net.reduce[number](self.net.cam[number](tap))
        return feature

    def l2h(self, number: int, u: Tensor | None, feature: Tensor) -> Tensor:
        """Return the L2H map after ``feature``; ``u`` is the map before it, None at the start."""
        if u is None:
            start: Tensor = self.net.l2h_start(feature)
            return start
        unit, size = self.net.l2h[number - 1], (u.shape[-2], u.shape[-1])
        assert isinstance(unit, Rlrm)
        return unit.by_taps(u, feature) if self.by_taps[number - 1] else unit(u, resize(feature, size))

    def joined(self, u: Tensor, v: Tensor, size: Size) -> Tensor:
        """Return P(blurred) at ``size`` (H, W) from the last maps of the pathways; B x H x W."""
        if size[0] % GRID or size[1] % GRID:
            return torch.sigmoid(self.net.fusion(resize(u, size), resize(v, size)))[:, 0]
        v = F.pixel_shuffle(self.phases(v, self.kernel_v), self.ratio)
        fused = self.net.fusion(self.phases(u, self.kernel_u), v)
        return F.pixel_shuffle(torch.sigmoid(fused), self.stride)[:, 0]

    def _last_l2h(self, a: list[Tensor]) -> Tensor:
        u = None
        for number, feature in enumerate(a):
            u = self.l2h(number, u, feature)
        assert u is not None
        return u

    def _last_h2l(self, a: list[Tensor]) -> Tensor:
        size = self.net.size_h2l(a)
        p = self.net.shrink(self.net.h2l_start(a[4]), size)
        for unit, feature in zip(self.net.h2l, a[3::-1], strict=True):
            p = unit(p, self.net.shrink(feature, size))
        return p


def exported(net: InferenceNet) -> torch.export.ExportedProgram:
    """Export ``net`` as a graph for other runtimes: batch 1, sides any multiple of 32 pixels up to 2,048."""
    height, width = (torch.export.Dim(name, min=1, max=MAX_CELLS) for name in ("h", "w"))
    example = torch.zeros((1, 10 * GRID, 15 * GRID, 3), dtype=torch.uint8)
    sizes = ({1: GRID * height, 2: GRID * width},)
    return torch.export.export(net.float(), (example,), dynamic_shapes=sizes)
