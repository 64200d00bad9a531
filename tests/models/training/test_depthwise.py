"""Depthwise convolutions with float32 gradients: the same layer, in every other respect."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from br2focus.models.efficientnet_lite import EfficientNetLite
from br2focus.models.training.depthwise import DepthwiseConv, use_float_gradients


def convs(stride: int = 1, kernel: int = 5) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A plain convolution and the same one with float32 gradients."""
    torch.manual_seed(3)
    plain = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=False)
    ours = nn.Sequential(copy.deepcopy(plain))
    use_float_gradients(ours)
    assert isinstance(ours[0], DepthwiseConv)
    return plain, ours[0]


def through(conv: nn.Conv2d, *, autocast: bool, double: bool = False) -> list[Tensor]:
    """Output, gradient of the input, gradient of the weight."""
    torch.manual_seed(4)
    x = torch.randn(3, 8, 13, 10)
    weights = torch.randn(3, 8, (13 - 1) // conv.stride[0] + 1, (10 - 1) // conv.stride[1] + 1)
    if double:
        x, weights, conv = x.double(), weights.double(), copy.deepcopy(conv).double()
    conv.zero_grad()
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = conv(x)
    (out.to(weights.dtype) * weights).sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
    return [out.detach(), x.grad, conv.weight.grad.clone()]


@pytest.mark.parametrize("stride", [1, 2])
def test_in_float32_nothing_differs(stride: int) -> None:
    plain, ours = convs(stride)
    for a, b in zip(through(plain, autocast=False), through(ours, autocast=False), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (7, 1), (7, 2), (3, 2)])
def test_under_autocast_it_is_close_to_the_truth(kernel: int, stride: int) -> None:
    plain, ours = convs(stride, kernel)
    truth = through(plain, autocast=False, double=True)
    usual, found = through(plain, autocast=True), through(ours, autocast=True)
    assert torch.equal(found[0], usual[0]) and found[0].dtype == torch.bfloat16
    for a, b, exact in zip(found, usual, truth, strict=True):
        assert a.dtype == b.dtype
        scale = float(exact.abs().max())
        assert float((a.double() - exact).abs().max()) < 0.01 * scale
        assert float((a.double() - exact).norm()) <= 1.05 * float((b.double() - exact).norm())


def test_the_faster_gradient_is_used_in_training_under_autocast_alone() -> None:
    _, ours = convs()
    x = torch.randn(1, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert "Depthwise" in type(ours(x).grad_fn).__name__
        assert "Depthwise" not in type(ours.eval()(x).grad_fn).__name__
    assert "Depthwise" not in type(ours.train()(x).grad_fn).__name__


def test_only_square_depthwise_convolutions_that_are_large_or_strided_change() -> None:
    others = [
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 8, 5, padding=2, groups=4, bias=False),
        nn.Conv2d(8, 16, 5, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, (5, 7), padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, (1, 2), padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=(2, 0), groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding="same", groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=2, padding_mode="reflect", groups=8, bias=False),
        nn.Conv2d(8, 8, 5, dilation=2, groups=8, bias=False),
        nn.Conv2d(1, 1, 5, padding=2, bias=False),
    ]
    net = nn.Sequential(*others)
    use_float_gradients(net)
    assert {type(module) for module in net} == {nn.Conv2d}


def test_names_copies_and_values_stay() -> None:
    torch.manual_seed(0)
    net = EfficientNetLite(1.0, 1.0).features
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    use_float_gradients(net)
    changed = [m for m in net.modules() if isinstance(m, DepthwiseConv)]
    assert len(changed) == 2 + 3 + 4 + 2, "the 5x5 filters of three stages, two 3x3 with a stride"
    copied = copy.deepcopy(net)
    assert sum(isinstance(m, DepthwiseConv) for m in copied.modules()) == len(changed)
    for each in (net, copied):
        state = each.state_dict()
        assert list(state) == list(before)
        assert all(torch.equal(state[key], tensor) for key, tensor in before.items())
    parameters = dict(net.named_parameters())
    assert all(parameters[k] is not p for k, p in copied.named_parameters())
