"""The inference form of a BR2Net with ``detail``: the network's picture and the frame's luma in, blur out.

Computes the same function as `BR2Net.forward` in less time: with the rewrites of `fast`, and with the short
kernels as convolutions over blocks of columns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fast
from .br2net import BR2Net
from .config import InputScale
from .detail import BLOCK, FREQUENCIES, Evidence, cell_mean
from .fast import InferenceNet
from .limits import spacing_of
from .rlrm import resize
from .sizes import GRID

PLANES = 3  # ln radius, gain, ln softness


def over_columns(kernels: Tensor, block: int, stride: int) -> nn.Conv2d:
    """Return a convolution with kernels C x 1 x n x n and ``stride``, for blocks of columns as channels.

    Each output has one copy of the kernels for every response that starts in a block; the first C channels
    are the first copy.
    """
    count, side = len(kernels), kernels.shape[-1]
    copies = block // stride
    blocks = math.ceil(((copies - 1) * stride + side) / block)
    weight = torch.zeros(copies, count, side, blocks * block)
    for copy_ in range(copies):
        weight[copy_, :, :, copy_ * stride : copy_ * stride + side] = kernels[:, 0]
    conv = nn.Conv2d(block, copies * count, (side, blocks), stride=(stride, 1), bias=False)
    cut = weight.view(copies * count, side, blocks, block).permute(0, 3, 1, 2)
    conv.weight = nn.Parameter(cut.contiguous(), requires_grad=False)
    return conv


class FastEvidence(Evidence):
    """`Evidence` at one spacing, for uint8 luma, with the weights of ``evidence``.

    Eight neighbouring pixels are the channels of one position. This is how a frame lies in memory, so no
    pixel is moved. A runtime with integer kernels (`int8.with_ranges`) applies them to its bytes directly.
    """

    def __init__(self, evidence: Evidence, spacing: int) -> None:
        nn.Module.__init__(self)
        kernels = evidence.zero_mean().detach()
        self.mix, self.compare, self.act = evidence.mix, evidence.compare, evidence.act
        self.block, stride = min(BLOCK, spacing), min(4, spacing)
        self.rounded: nn.Module = nn.Identity()
        self.fine = over_columns(kernels, self.block, stride)
        # The kernels for the frame at half size, as kernels of 16 x 16 on the frame itself.
        larger = kernels.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        self.coarse_stride = 2 * min(4, spacing // 2)
        self.coarse = over_columns(larger, self.block, self.coarse_stride)

    def answers(self, luma: Tensor, spacing: int) -> tuple[list[Tensor], Tensor]:
        """See `Evidence.answers`; ``luma`` is uint8 B x 1 x H x W."""
        block, count = self.block, len(FREQUENCIES)
        blocks = luma.shape[-1] // block
        cut = luma[:, 0, :, : blocks * block].reshape(-1, luma.shape[-2], blocks, block)
        pixels = self.rounded(cut.to(self.fine.weight.dtype)).permute(0, 3, 1, 2)
        answer = self.fine(pixels).abs()
        copies = answer.shape[1] // count
        cell = copies * spacing // block
        mean = _pooled(F.avg_pool2d, answer, cell, copies)
        peak = _pooled(F.max_pool2d, answer, cell, copies)
        if copies == 2:
            mean = (mean[:, :count] + mean[:, count:]) / 2
            peak = torch.maximum(peak[:, :count], peak[:, count:])
        coarse = cell_mean(self.coarse(pixels).abs(), spacing // self.coarse_stride)
        return [mean, coarse], peak


def _pooled(pool: Callable[..., Tensor], answer: Tensor, cell: int, copies: int) -> Tensor:
    """Apply ``pool`` to cells of ``cell`` rows and as many columns, ``copies`` of which are channels."""
    return pool(answer, (cell, cell // copies), ceil_mode=True) if cell > 1 else answer


class DetailNet(InferenceNet):
    """``net`` as an engine runs it for frames of about one size.

    A call takes uint8 BGR B x H x W x 3 (the network's picture, sides multiples of 32) and uint8 luma
    B x H' x W' (the frame's own). It returns B x 3 x H/2 x W/2: ln radius, gain, ln softness (see `Blur`).

    Args:
        net: the network.
        scale: of its input.
        ratio: pixels of the frame per pixel of the network; decides the spacing of the evidence.
    """

    def __init__(self, net: BR2Net, scale: InputScale, ratio: float) -> None:
        super().__init__(net, scale)
        self.spacing = spacing_of(ratio)
        self.evidence = FastEvidence(self.net.detail.evidence, self.spacing)
        self.net.detail.evidence = self.evidence

    def forward(self, pictures: Tensor, luma: Tensor) -> Tensor:  # type: ignore[override]
        """Run the network (see the class)."""
        size = (pictures.shape[1], pictures.shape[2])
        dtype = self.evidence.fine.weight.dtype
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
    """Return the longer side of B x H x W as B x 1; a sum of ones stays in the graph, whatever the size."""
    across, down = (
        torch.ones_like(line, dtype=dtype).sum(1, keepdim=True) for line in (planes[:, 0], planes[:, :, 0])
    )
    return torch.maximum(across, down)


def in_precision(net: InferenceNet, dtype: torch.dtype) -> InferenceNet:
    """Convert ``net`` to ``dtype``, channels last; evidence stays float32: fourth powers overflow in half."""
    exact = copy.deepcopy(net.evidence) if isinstance(net, DetailNet) else None
    net.to(dtype).to(memory_format=torch.channels_last)
    if isinstance(net, DetailNet) and exact is not None:
        net.evidence = net.net.detail.evidence = exact
    return net


def inference_net(net: BR2Net, scale: InputScale, ratio: float) -> InferenceNet:
    """Return the inference form of any network; ``ratio`` only matters with ``detail``."""
    if net.config.detail == "none":
        return InferenceNet(net, scale)
    return DetailNet(net, scale, ratio)


def exported(net: InferenceNet) -> torch.export.ExportedProgram:
    """Export ``net`` as a graph for other runtimes: batch 1, pictures and frames of any size.

    With ``detail``, the spacing of the evidence is fixed. It fits frames of one to two times the size,
    relative to the picture, that it is made for (see `limits.spacing_of`).
    """
    if not isinstance(net, DetailNet):
        return fast.exported(net)
    pictures = torch.zeros((1, 10 * GRID, 15 * GRID, 3), dtype=torch.uint8)
    # No block divides these sides, and the map has other cells; otherwise the graph would be specialised.
    luma = torch.zeros((1, 170 * net.spacing + 3, 250 * net.spacing + 3), dtype=torch.uint8)
    free = {1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    return torch.export.export(net.float(), (pictures, luma), dynamic_shapes=(free, free))
