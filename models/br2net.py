"""BR2Net: a backbone with channel attention, refinement in two directions, and a fusion.

Tang, Liu, An, Wang: "BR2Net: Defocus Blur Detection via a Bidirectional Channel Attention Residual
Refining Network", IEEE TMM 2020. Every internal map is one channel of logits; P = sigmoid(logit) is the
probability that a pixel is blurred.

>>> import torch
>>> net = BR2Net(BR2NetConfig(backbone="mobilenet_v2", width=8, reduce=8)).eval()
>>> maps = net(torch.zeros(1, 3, 65, 97))
>>> len(maps.l2h), len(maps.h2l), tuple(maps.fused.shape)
(5, 5, (1, 1, 65, 97))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import make_attention
from .backbones import make_backbone
from .config import BR2NetConfig
from .detail import Blur, Detail
from .limits import frame_ratio, spacing_of
from .rlrm import Rlrm, Size, resize


class Maps(NamedTuple):
    """All maps that the training supervises, as logits B x 1 x H x W at the size of the image.

    Attributes:
        l2h, h2l, fused: the maps of the two pathways and of their fusion.
        blur: with ``detail``, the result; all maps are then half as large as the image.
    """

    l2h: list[Tensor]
    h2l: list[Tensor]
    fused: Tensor
    blur: Blur | None = None

    def all(self) -> list[Tensor]:
        """Return the eleven maps of the loss: ten side maps and the fused one."""
        return [*self.l2h, *self.h2l, self.fused]


class BR2Net(nn.Module):
    """The network; `forward` returns the eleven maps that the training supervises."""

    def __init__(self, config: BR2NetConfig, backbone_start: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone, backbone_start)
        self.cam = nn.ModuleList(make_attention(config.attention, c) for c in self.backbone.channels)
        channels = [config.reduce or c for c in self.backbone.channels]
        self.reduce = nn.ModuleList(
            nn.Conv2d(c, config.reduce, 1) if config.reduce else nn.Identity() for c in self.backbone.channels
        )
        self.l2h_start = nn.Conv2d(channels[0], 1, 1)
        self.h2l_start = nn.Conv2d(channels[4], 1, 1)
        self.l2h = nn.ModuleList(self._rlrm(c) for c in channels[1:])
        self.h2l = nn.ModuleList(self._rlrm(c) for c in channels[3::-1])
        if config.fusion == "conv":
            self.fuse = nn.Conv2d(2, 1, 1)
            nn.init.constant_(self.fuse.weight, 0.5)
            nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]
        if config.detail != "none":
            self.detail = Detail(channels)

    def _rlrm(self, channels: int) -> Rlrm:
        return Rlrm(channels, self.config.width, residual=self.config.rlrm)

    def attended(self, x: Tensor) -> list[Tensor]:
        """Return A1..A5: the taps after attention (and reduction), shared by both pathways."""
        taps = self.backbone(x)
        return [reduce(cam(tap)) for tap, cam, reduce in zip(taps, self.cam, self.reduce, strict=True)]

    def shrink(self, feature: Tensor, size: Size) -> Tensor:
        """Resize ``feature`` to ``size`` for the H2L pathway."""
        larger = feature.shape[-1] > size[1] or feature.shape[-2] > size[0]
        ratio = feature.shape[-1] // size[1]
        whole = (feature.shape[-2], feature.shape[-1]) == (ratio * size[0], ratio * size[1])
        if self.config.h2l_shrink == "area" and larger:
            # Both are the same for a whole ratio; backends support the plain pooling better.
            return F.avg_pool2d(feature, ratio) if whole else F.adaptive_avg_pool2d(feature, size)
        if larger and whole and ratio % 2 == 0:
            # Bilinear without a low-pass filter: the mean of the central 2 x 2 samples of each cell.
            first = ratio // 2 - 1
            return F.avg_pool2d(feature[:, :, first:, first:], 2, ratio)
        return resize(feature, size)

    def size_l2h(self, a: list[Tensor]) -> Size:
        """Return height and width of the L2H maps."""
        return a[0].shape[-2], a[0].shape[-1]

    def size_h2l(self, a: list[Tensor]) -> Size:
        """Return height and width of the H2L maps."""
        tap = a[self.config.h2l_tap - 1]
        return tap.shape[-2], tap.shape[-1]

    def pathway_l2h(self, a: list[Tensor]) -> list[Tensor]:
        """Refine from shallow to deep at the size of F1; return u1..u5, B x 1 x H1 x W1."""
        size = self.size_l2h(a)
        maps = [self.l2h_start(a[0])]
        for refine, feature in zip(self.l2h, a[1:], strict=True):
            maps.append(refine(maps[-1], resize(feature, size)))
        return maps

    def pathway_h2l(self, a: list[Tensor]) -> list[Tensor]:
        """Refine from deep to shallow at the size of F5 (or of tap ``h2l_tap``); return v1..v5."""
        size = self.size_h2l(a)
        maps = [self.shrink(self.h2l_start(a[4]), size)]
        for refine, feature in zip(self.h2l, a[3::-1], strict=True):
            maps.append(refine(maps[-1], self.shrink(feature, size)))
        return maps

    def fusion(self, u: Tensor, v: Tensor) -> Tensor:
        """Fuse the last maps of the two pathways into one map of logits; any shape, the same for both.

        Every fusion works on single pixels, so the 1x1 convolution of "conv" is written as a weighted sum.
        """
        match self.config.fusion:
            case "l2h":
                return u
            case "h2l":
                return v
            case "mean":
                return (u + v) / 2
        weight, bias = self.fuse.weight.flatten(), self.fuse.bias
        assert bias is not None
        return u * weight[0] + v * weight[1] + bias

    def evidence(self, frames: Sequence[Tensor], size: Size) -> tuple[Tensor, Tensor]:
        """Return the evidence of the frames, B x C x H/2 x W/2, and ln of their ratio to ``size``, B x 1.

        Args:
            frames: luma of each picture at its own pixels, 1 x H' x W' in 0..255; sizes may differ.
            size: H and W of the network's input.
        """
        ratios = [frame_ratio((frame.shape[-2], frame.shape[-1]), size) for frame in frames]
        log_ratio = frames[0].new_tensor(ratios).log()[:, None]
        planes = [
            self.detail.at_half(frame[None], spacing_of(ratio), log_ratio[i : i + 1], size)
            for i, (frame, ratio) in enumerate(zip(frames, ratios, strict=True))
        ]
        return torch.cat(planes), log_ratio

    def forward(self, x: Tensor, frames: Sequence[Tensor] | None = None) -> Maps:
        """Map normalised images B x 3 x H x W to eleven maps of logits at H x W (see `Maps`).

        With ``detail``, ``frames`` are the luma planes that ``x`` was downscaled from (see `evidence`), and
        all maps are H/2 x W/2.
        """
        size = (x.shape[-2], x.shape[-1])
        a = self.attended(x)
        detail = log_ratio = x
        if self.config.detail != "none":
            assert frames is not None, "this network looks at the frames themselves, too"
            detail, log_ratio = self.evidence(frames, size)
            a = [self.detail.joined(i, feature, detail) for i, feature in enumerate(a)]
            size = (detail.shape[-2], detail.shape[-1])
        # The five maps of a pathway are resized as channels of one tensor: a third of the time on a CPU.
        l2h = list(torch.chunk(resize(torch.cat(self.pathway_l2h(a), 1), size), 5, 1))
        h2l = list(torch.chunk(resize(torch.cat(self.pathway_h2l(a), 1), size), 5, 1))
        fused = self.fusion(l2h[-1], h2l[-1])
        if self.config.detail == "none":
            return Maps(l2h, h2l, fused)
        return Maps(l2h, h2l, fused, self.detail.blur(fused, a[0], detail, log_ratio))


def without_detail(net: BR2Net) -> BR2Net:
    """Return ``net`` with ``detail = "none"``: only its backbone and pathways, for measurements."""
    if net.config.detail == "none":
        return net
    plain = BR2Net(replace(net.config, detail="none")).train(net.training)
    names = plain.state_dict().keys()
    plain.load_state_dict({name: t for name, t in net.state_dict().items() if name in names})
    return plain
