"""Channel attention (CAM) of BR2Net, and the variants that its ablation compares.

>>> import torch
>>> make_attention("se", 64)(torch.zeros(1, 64, 8, 8)).shape
torch.Size([1, 64, 8, 8])
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ATTENTIONS


def _bottleneck(channels: int, reduction: int = 16) -> nn.Sequential:
    """Return two 1x1 convolutions C -> C/16 -> C with a ReLU between them, for pooled vectors."""
    hidden = max(channels // reduction, 1)
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
    )


class ChannelAttention(nn.Module):
    """The paper's CAM (squeeze-and-excitation): one gain in (0, 1) per channel.

    Tang et al., IEEE TMM 2020; Hu et al., CVPR 2018.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.excite = _bottleneck(channels)

    def gain(self, feature: Tensor) -> Tensor:
        """Return the gain of each channel: B x C x H x W -> B x C x 1 x 1."""
        return torch.sigmoid(self.excite(feature.mean((2, 3), keepdim=True)))

    def forward(self, feature: Tensor) -> Tensor:
        """Scale ``feature`` (B x C x H x W) by its own gain."""
        return feature * self.gain(feature)


class BottleneckAttention(nn.Module):
    """BAM: a channel branch plus a dilated spatial branch, then 1 + sigmoid (Park et al., BMVC 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 1)
        self.channel = _bottleneck(channels)
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            *self._dilated(hidden),
            *self._dilated(hidden),
            nn.Conv2d(hidden, 1, 1),
        )

    @staticmethod
    def _dilated(channels: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, channels, 3, padding=4, dilation=4)
        return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]

    def forward(self, feature: Tensor) -> Tensor:
        """Scale ``feature`` (B x C x H x W) by a gain per channel and position."""
        pooled = feature.mean((2, 3), keepdim=True)
        return feature * (1 + torch.sigmoid(self.channel(pooled) + self.spatial(feature)))


class ConvBlockAttention(nn.Module):
    """CBAM: channel attention from mean and maximum, then spatial attention (Woo et al., ECCV 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = _bottleneck(channels)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Scale ``feature`` (B x C x H x W) by channel, then by position."""
        mean, peak = feature.mean((2, 3), keepdim=True), feature.amax((2, 3), keepdim=True)
        feature = feature * torch.sigmoid(self.channel(mean) + self.channel(peak))
        summary = torch.cat([feature.mean(1, keepdim=True), feature.amax(1, keepdim=True)], 1)
        return feature * torch.sigmoid(self.spatial(summary))


def make_attention(kind: str, channels: int) -> nn.Module:
    """Make the attention block ``kind`` (one of `ATTENTIONS`) for ``channels`` channels."""
    match kind:
        case "none":
            return nn.Identity()
        case "se":
            return ChannelAttention(channels)
        case "bam":
            return BottleneckAttention(channels)
        case "cbam":
            return ConvBlockAttention(channels)
    raise ValueError(f"attention {kind!r} is not one of {', '.join(ATTENTIONS)}")
