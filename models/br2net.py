"""BR2Net: a backbone with channel attention, refined in two directions, and fused.

Tang, Liu, An, Wang: "BR2Net: Defocus Blur Detection via a Bidirectional Channel Attention Residual
Refining Network", IEEE TMM 2020. Every map inside is one channel of logits; P = sigmoid(logit) is the
probability of being blurred.

>>> import torch
>>> net = BR2Net(BR2NetConfig(backbone="mobilenet_v2", width=8, reduce=8)).eval()
>>> maps = net(torch.zeros(1, 3, 65, 97))
>>> len(maps.l2h), len(maps.h2l), tuple(maps.fused.shape)
(5, 5, (1, 1, 65, 97))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import ATTENTIONS, make_attention
from .backbones import BACKBONES, make_backbone
from .rlrm import Rlrm, Size, resize

FUSIONS = ("l2h", "h2l", "mean", "conv")
MAX_WIDTH = 4096  # a header must not be able to ask for all the memory there is


@dataclass(frozen=True)
class BR2NetConfig:
    """Which BR2Net: the defaults are the paper's, the other fields are the ablation and the light forms.

    Attributes:
        backbone: a key of `br2focus.models.backbones.BACKBONES`.
        attention: the block on every tap; "se" is the paper's CAM.
        rlrm: add the refinement to the map (True) or replace the map by it (False).
        fusion: how the two pathways become one map.
        width: channels inside every RLRM.
        reduce: channels that every tap is brought to by a 1x1 convolution, or None to keep them.
        h2l_tap: the H2L pathway runs at the size of this tap (5 in the paper).
        h2l_shrink: how larger features get to that size; "area" has the low-pass filter that
            "bilinear" (the paper) lacks.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    backbone: str = "resnext50_32x4d"
    attention: Literal["none", "se", "bam", "cbam"] = "se"
    rlrm: bool = True
    fusion: Literal["l2h", "h2l", "mean", "conv"] = "conv"
    width: int = 128
    reduce: int | None = None
    h2l_tap: int = 5
    h2l_shrink: Literal["bilinear", "area"] = "bilinear"

    def __post_init__(self) -> None:
        allowed = {
            "backbone": tuple(BACKBONES),
            "attention": ATTENTIONS,
            "rlrm": (True, False),
            "fusion": FUSIONS,
            "h2l_tap": (1, 2, 3, 4, 5),
            "h2l_shrink": ("bilinear", "area"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not one of {values}")
        for name, number in (("width", self.width), ("reduce", self.reduce)):
            optional = name == "reduce" and number is None
            if not optional and not (isinstance(number, int) and 1 <= number <= MAX_WIDTH):
                raise ValueError(f"{name} = {number!r} is not a whole number from 1 to {MAX_WIDTH}")


class Maps(NamedTuple):
    """Everything the training supervises, as logits B x 1 x H x W at the size of the image."""

    l2h: list[Tensor]
    h2l: list[Tensor]
    fused: Tensor

    def all(self) -> list[Tensor]:
        """The eleven maps of the loss: ten side maps and the fused one."""
        return [*self.l2h, *self.h2l, self.fused]


class BR2Net(nn.Module):
    """The network; `forward` gives the eleven maps of the training, `fused_logits` the result alone."""

    def __init__(
        self, config: BR2NetConfig, backbone_start: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone, backbone_start)
        self.cam = nn.ModuleList(
            make_attention(config.attention, c) for c in self.backbone.channels
        )
        channels = [config.reduce or c for c in self.backbone.channels]
        self.reduce = nn.ModuleList(
            nn.Conv2d(c, config.reduce, 1) if config.reduce else nn.Identity()
            for c in self.backbone.channels
        )
        self.l2h_start = nn.Conv2d(channels[0], 1, 1)
        self.h2l_start = nn.Conv2d(channels[4], 1, 1)
        self.l2h = nn.ModuleList(self._rlrm(c) for c in channels[1:])
        self.h2l = nn.ModuleList(self._rlrm(c) for c in channels[3::-1])
        if config.fusion == "conv":
            self.fuse = nn.Conv2d(2, 1, 1)
            nn.init.constant_(self.fuse.weight, 0.5)
            nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]

    def _rlrm(self, channels: int) -> Rlrm:
        return Rlrm(channels, self.config.width, residual=self.config.rlrm)

    def attended(self, x: Tensor) -> list[Tensor]:
        """A1..A5: the taps after attention (and reduction), shared by both pathways."""
        taps = self.backbone(x)
        return [
            reduce(cam(tap)) for tap, cam, reduce in zip(taps, self.cam, self.reduce, strict=True)
        ]

    def shrink(self, feature: Tensor, size: Size) -> Tensor:
        """Bring ``feature`` to ``size`` for the H2L pathway."""
        larger = feature.shape[-1] > size[1] or feature.shape[-2] > size[0]
        if self.config.h2l_shrink == "area" and larger:
            return F.adaptive_avg_pool2d(feature, size)
        return resize(feature, size)

    def size_l2h(self, a: list[Tensor]) -> Size:
        """Height and width of the L2H maps."""
        return a[0].shape[-2], a[0].shape[-1]

    def size_h2l(self, a: list[Tensor]) -> Size:
        """Height and width of the H2L maps."""
        tap = a[self.config.h2l_tap - 1]
        return tap.shape[-2], tap.shape[-1]

    def pathway_l2h(self, a: list[Tensor]) -> list[Tensor]:
        """Shallow to deep, at the size of F1: u1..u5, B x 1 x H1 x W1."""
        size = self.size_l2h(a)
        maps = [self.l2h_start(a[0])]
        for refine, feature in zip(self.l2h, a[1:], strict=True):
            maps.append(refine(maps[-1], resize(feature, size)))
        return maps

    def pathway_h2l(self, a: list[Tensor]) -> list[Tensor]:
        """Deep to shallow, at the size of F5 (or of tap ``h2l_tap``): v1..v5."""
        size = self.size_h2l(a)
        maps = [self.shrink(self.h2l_start(a[4]), size)]
        for refine, feature in zip(self.h2l, a[3::-1], strict=True):
            maps.append(refine(maps[-1], self.shrink(feature, size)))
        return maps

    def fusion(self, u: Tensor, v: Tensor) -> Tensor:
        """One map of logits out of the last maps of the two pathways, which have one size."""
        match self.config.fusion:
            case "l2h":
                return u
            case "h2l":
                return v
            case "mean":
                return (u + v) / 2
        fused: Tensor = self.fuse(torch.cat([u, v], 1))
        return fused

    def forward(self, x: Tensor) -> Maps:
        """Normalised images B x 3 x H x W -> eleven maps of logits at H x W (see `Maps`)."""
        size = (x.shape[-2], x.shape[-1])
        a = self.attended(x)
        # The five maps of a pathway are resized as channels of one: a third of the time on a CPU.
        l2h = list(torch.chunk(resize(torch.cat(self.pathway_l2h(a), 1), size), 5, 1))
        h2l = list(torch.chunk(resize(torch.cat(self.pathway_h2l(a), 1), size), 5, 1))
        return Maps(l2h, h2l, self.fusion(l2h[-1], h2l[-1]))
