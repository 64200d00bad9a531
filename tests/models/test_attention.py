"""Attention blocks: shapes, the range of their gains, what they look at."""

from __future__ import annotations

import pytest
import torch

from br2focus.models.attention import ChannelAttention, make_attention
from br2focus.models.config import ATTENTIONS

# Smallest and largest gain that each block can apply.
GAINS = {"none": (1.0, 1.0), "se": (0.0, 1.0), "bam": (1.0, 2.0), "cbam": (0.0, 1.0)}


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize(("channels", "height", "width"), [(64, 9, 7), (24, 1, 1), (8, 33, 2)])
def test_shape_and_range_of_the_gain(kind: str, channels: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    block = make_attention(kind, channels).eval()
    feature = torch.randn(2, channels, height, width)
    with torch.no_grad():
        out = block(feature)
    gain = out / feature
    low, high = GAINS[kind]
    assert out.shape == feature.shape
    assert gain.min() >= low - 1e-6 and gain.max() <= high + 1e-6


@pytest.mark.parametrize("kind", ["se", "bam", "cbam"])
def test_the_gain_depends_on_the_feature(kind: str) -> None:
    torch.manual_seed(0)
    block = make_attention(kind, 256).eval()
    first, second = torch.rand(1, 256, 8, 8) + 1, 3 * torch.rand(1, 256, 8, 8) + 1
    with torch.no_grad():
        assert not torch.allclose(block(first) / first, block(second) / second, atol=1e-4)


def test_cam_has_one_gain_for_every_channel() -> None:
    torch.manual_seed(0)
    block = ChannelAttention(64)
    feature = torch.rand(2, 64, 6, 5) + 0.5
    gain = block.gain(feature)
    assert gain.shape == (2, 64, 1, 1)
    torch.testing.assert_close(block(feature) / feature, gain.expand(2, 64, 6, 5))


def test_cam_sees_only_the_mean() -> None:
    torch.manual_seed(0)
    block, feature = ChannelAttention(256), torch.rand(1, 256, 4, 4)
    shuffled = feature.flatten(2)[:, :, torch.randperm(16)].view_as(feature)
    torch.testing.assert_close(block.gain(feature), block.gain(shuffled))


def test_cam_has_the_paper_s_size() -> None:
    count = sum(p.numel() for p in ChannelAttention(256).parameters())
    assert count == 256 * 16 + 16 + 16 * 256 + 256


def test_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'eca' is not one of none, se, bam, cbam"):
        make_attention("eca", 8)
