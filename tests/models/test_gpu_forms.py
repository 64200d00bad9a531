"""The forms for a GPU give what the plain parts give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.fast import InferenceNet
from br2focus.models.gpu_forms import (
    ConvRelu,
    FusedBottleneck,
    GpuRlrm,
    PointwiseRlrm,
    ShiftedTaps,
    use_gpu_forms,
)
from br2focus.models.rlrm import Rlrm, Size, resize

BACKBONES = ("resnext50_32x4d", "vgg16", "mobilenet_v2", "efficientnet_lite0")


@pytest.mark.parametrize("form", [GpuRlrm, PointwiseRlrm])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(
    ("small", "large"), [((5, 5), (40, 40)), ((6, 4), (41, 31)), ((3, 2), (3, 2)), ((9, 7), (4, 5))]
)
def test_refining_units(small: Size, large: Size, residual: bool, form: type[GpuRlrm]) -> None:
    torch.manual_seed(3)
    unit = Rlrm(32, 16, residual=residual).eval()
    for part in unit.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.2)
    ours = form(unit).eval()
    p, feature = torch.randn(2, 1, *large), torch.randn(2, 32, *small)
    with torch.inference_mode():
        wanted = unit(p, resize(feature, large))
        assert (ours(p, resize(feature, large)) - wanted).abs().max() < 1e-5
        assert (ours.by_taps(p, feature) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_a_filter_of_each_channel(size: Size, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6)
    x = torch.randn(2, 6, *size)
    torch.testing.assert_close(ShiftedTaps(conv)(x), conv(x))


@pytest.mark.parametrize("most", [None, 0.5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("inputs", "outputs", "groups"),
    [(8, 12, 1), (8, 12, 4), (128, 128, 32), (64, 128, 8), (96, 96, 24)],
)
def test_a_convolution_with_its_relu(
    inputs: int, outputs: int, groups: int, bias: bool, most: float | None
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, outputs, 3, 2, 1, groups=groups, bias=bias)
    x = torch.randn(2, inputs, 9, 9)
    torch.testing.assert_close(ConvRelu(conv, most)(x), conv(x).clamp(0, most))


def random_net(backbone: str) -> InferenceNet:
    torch.manual_seed(0)
    net = BR2Net(BR2NetConfig(backbone=backbone, width=16)).eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.2)
        elif isinstance(part, Rlrm):
            part.body[-1].weight *= 32
    return InferenceNet(net, InputScale())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_whole_networks(backbone: str, compiled: bool) -> None:
    plain = random_net(backbone)
    ours = random_net(backbone).to(memory_format=torch.channels_last)
    use_gpu_forms(ours, compiled=compiled)
    pictures = torch.randint(256, (2, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        wanted, found = plain(pictures), ours(pictures)
    assert wanted.std() > 1e-3, "a flat map: nothing is compared"
    assert (found - wanted).abs().max() < 1e-4
    kinds = [type(part) for part in ours.modules()]
    assert ConvRelu in kinds and nn.ReLU not in kinds
    assert (FusedBottleneck in kinds) == (backbone == "resnext50_32x4d")
    assert (ShiftedTaps in kinds) == (compiled and backbone in BACKBONES[2:])
    for part in ours.modules():
        for name in ("weight", "taps", "of_feature"):
            weight = getattr(part, name, None)
            if isinstance(part, ConvRelu | GpuRlrm) and weight is not None:
                assert weight.is_contiguous(memory_format=torch.channels_last)
