"""The inference form of a BR2Net with ``detail``: the network's picture and the frame's luma in, blur out.

The same function as `BR2Net.forward` in less time: as in `fast`, and the short kernels run as convolutions
over blocks of pixels.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fast
from .br2net import BR2Net
from .config import InputScale
from .detail import KERNEL, Evidence, cell_mean, cell_peak
from .fast import InferenceNet
from .limits import spacing_of
from .rlrm import resize
from .sizes import GRID

PLANES = 3  # ln radius, gain, ln softness


def in_blocks(kernels: Tensor, block: int) -> Tensor:
    """Kernels C x 1 x 8 x 8 for a picture whose blocks of pixels are channels: C x block^2 x n x n."""
    side = KERNEL // block
    cut = kernels.view(-1, side, block, side, block).permute(0, 2, 4, 1, 3)
    return cut.reshape(-1, block * block, side, side).contiguous()


def halving(block: int) -> Tensor:
    """What halves a picture whose blocks are channels: (block / 2)^2 x block^2 x 1 x 1."""
    half = block // 2
    weight = torch.zeros(half * half, block * block, 1, 1)
    for y in range(block):
        for x in range(block):
            weight[y // 2 * half + x // 2, y * block + x] = 0.25
    return weight


class FastEvidence(Evidence):
    """`Evidence` at one spacing, for uint8 luma; weights are those of ``evidence``."""

    blocked: Tensor
    half_blocked: Tensor
    halving: Tensor

    def __init__(self, evidence: Evidence, spacing: int) -> None:
        nn.Module.__init__(self)
        kernels = evidence.zero_mean().detach()
        self.mix, self.compare, self.act = evidence.mix, evidence.compare, evidence.act
        self.block = min(4, spacing)
        self.register_buffer("blocked", in_blocks(kernels, self.block))
        self.register_buffer("half_blocked", in_blocks(kernels, self.block // 2))
        self.register_buffer("halving", halving(self.block))

    def answers(self, luma: Tensor, spacing: int) -> tuple[list[Tensor], Tensor]:
        """As `Evidence.answers`; ``luma`` is uint8 B x 1 x H x W."""
        block = self.block
        rows, columns = luma.shape[-2] // block, luma.shape[-1] // block
        whole = luma[:, 0, : rows * block, : columns * block]
        cut = whole.reshape(-1, rows, block, columns, block).permute(0, 2, 4, 1, 3)
        pixels = cut.reshape(-1, block * block, rows, columns).to(self.blocked.dtype)
        answer = F.conv2d(pixels, self.blocked).abs()
        cell = spacing // block
        stride = min(4, spacing // 2)
        halved = F.conv2d(pixels, self.halving)
        coarse = F.conv2d(halved, self.half_blocked, stride=stride // (block // 2)).abs()
        means = [cell_mean(answer, cell), cell_mean(coarse, spacing // 2 // stride)]
        return means, cell_peak(answer, cell)


class DetailNet(InferenceNet):
    """``net`` as an engine runs it for frames of about one size.

    A call takes uint8 BGR B x H x W x 3 (the network's picture, sides multiples of 32) and uint8 luma
    B x H' x W' (the frame's own), and gives B x 3 x H/2 x W/2: ln radius, gain, ln softness (see `Blur`).

    Args:
        net: the network.
        scale: of its input.
        ratio: pixels of the frame for one of the network's; decides the spacing of the evidence.
    """

    def __init__(self, net: BR2Net, scale: InputScale, ratio: float) -> None:
        super().__init__(net, scale)
        self.spacing = spacing_of(ratio)
        self.evidence = FastEvidence(self.net.detail.evidence, self.spacing)
        self.net.detail.evidence = self.evidence

    def forward(self, pictures: Tensor, luma: Tensor) -> Tensor:  # type: ignore[override]
        """Run the network (see the class)."""
        size = (pictures.shape[1], pictures.shape[2])
        dtype = self.evidence.blocked.dtype
        own, seen = _longer_side(luma, dtype), _longer_side(pictures[..., 0], dtype)
        log_ratio = (own / seen).log()
        detail = self.net.detail.at_half(luma[:, None], self.spacing, log_ratio, size)
        detail, log_ratio = detail.to(self.mean.dtype), log_ratio.to(self.mean.dtype)
        joined = self.net.detail.joined
        a = [joined(number, tap, detail) for number, tap in enumerate(self._features(pictures))]
        half = (detail.shape[-2], detail.shape[-1])
        fused = self.net.fusion(resize(self._last_l2h(a), half), resize(self._last_h2l(a), half))
        blur = self.net.detail.blur(fused, a[0], detail, log_ratio)
        softness = blur.log_softness[:, None, None, None].expand_as(blur.log_radius)
        return torch.cat([blur.log_radius, blur.gain, softness], 1)


def _longer_side(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """Of B x H x W, as B x 1: sums of ones are numbers of the graph, whatever the sizes are."""
    across, down = (
        torch.ones_like(line, dtype=dtype).sum(1, keepdim=True)
        for line in (planes[:, 0], planes[:, :, 0])
    )
    return torch.maximum(across, down)


def in_precision(net: InferenceNet, dtype: torch.dtype) -> InferenceNet:
    """``net`` in ``dtype``, channels last; its evidence stays in float32: fourth powers overflow in half."""
    exact = copy.deepcopy(net.evidence) if isinstance(net, DetailNet) else None
    net.to(dtype).to(memory_format=torch.channels_last)
    if isinstance(net, DetailNet) and exact is not None:
        net.evidence = net.net.detail.evidence = exact
    return net


def inference_net(net: BR2Net, scale: InputScale, ratio: float) -> InferenceNet:
    """The inference form of any network; ``ratio`` is for those with ``detail``."""
    if net.config.detail == "none":
        return InferenceNet(net, scale)
    return DetailNet(net, scale, ratio)


def exported(net: InferenceNet) -> torch.export.ExportedProgram:
    """``net`` as a graph for other runtimes: batch 1, pictures and frames of any size.

    A network with ``detail`` has one spacing of evidence, so its frames are one to two times as large,
    measured in its pictures, as that is made for (see `limits.spacing_of`).
    """
    if not isinstance(net, DetailNet):
        return fast.exported(net)
    pictures = torch.zeros((1, 10 * GRID, 15 * GRID, 3), dtype=torch.uint8)
    # Sides that no block divides and cells that the map has not, or the graph would be for such alone.
    luma = torch.zeros((1, 170 * net.spacing + 3, 250 * net.spacing + 3), dtype=torch.uint8)
    free = {1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    return torch.export.export(net.float(), (pictures, luma), dynamic_shapes=(free, free))
