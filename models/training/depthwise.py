"""Depthwise convolutions with float32 gradients, for training on CPUs in bfloat16.

PyTorch's CPU kernels for the gradient of a depthwise convolution in bfloat16 are plain loops: for 5x5
filters, and for 3x3 filters with a stride, they take 3 to 25 times as long as in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = stride, padding
        return F.conv2d(x, weight.to(x.dtype), None, stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.shape
        dx, dw, _ = torch.ops.aten.convolution_backward(
            grads[0].float(),
            x.float(),
            weight.float(),
            None,
            (stride, stride),
            (padding, padding),
            (1, 1),
            False,
            (0, 0),
            x.shape[1],
            (True, True, False),
        )
        return dx.to(x.dtype), dw.to(weight.dtype), None, None


class DepthwiseConv(nn.Conv2d):
    """`nn.Conv2d` with one filter per channel; parameters, names and results are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x C x H/stride x W/stride."""
        if not (self.training and torch.is_autocast_enabled("cpu") and x.device.type == "cpu"):
            return super().forward(x)
        lower = x.to(torch.get_autocast_dtype("cpu"))
        padding, stride = self.padding[0], self.stride[0]
        out: Tensor = _Depthwise.apply(lower, self.weight, stride, padding)
        return out


def use_float_gradients(net: nn.Module) -> None:
    """Give the square depthwise convolutions of ``net`` the faster gradient, in place."""
    for module in net.modules():
        if type(module) is nn.Conv2d and _is_depthwise(module):
            module.__class__ = DepthwiseConv


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.bias is None
        and conv.kernel_size[0] == conv.kernel_size[1]
        and conv.stride[0] == conv.stride[1]
        and (conv.kernel_size[0] >= 5 or conv.stride[0] >= 2)
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1]
        and conv.padding_mode == "zeros"
        and conv.dilation == (1, 1)
    )
