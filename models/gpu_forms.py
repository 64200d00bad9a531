"""Forms of the network's parts for a GPU: the same results with fewer kernels that move fewer bytes.

cuDNN adds a bias and applies a ReLU within a convolution. cuBLAS enlarges the taps of the refining units as a
matrix product. A compiler (``compiled=True``) fuses element-wise operations, so for it single-channel filters
and the one-channel ends of the refining units are written as multiply-adds.
"""

from __future__ import annotations

from functools import cache
from typing import TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from .fast import InferenceNet
from .phases import shifted_phases
from .rlrm import Rlrm

WIDE = 32  # minimum channels per group of a convolution


def use_gpu_forms(net: InferenceNet, *, compiled: bool) -> None:
    """Replace parts of ``net`` with their GPU forms, in place."""
    for units in (net.net.l2h, net.net.h2l):
        for number, unit in enumerate(units):
            assert isinstance(unit, Rlrm)
            units[number] = PointwiseRlrm(unit) if compiled else GpuRlrm(unit)
    for parts in (net.net.backbone, net.net.cam):
        _replace(parts, compiled=compiled)
    if compiled:
        net.phases = shifted_phases
        for name in ("l2h_start", "h2l_start"):
            setattr(net.net, name, ToOne(getattr(net.net, name)))


def _replace(module: nn.Module, *, compiled: bool) -> None:
    for name, child in module.named_children():
        setattr(module, name, _form(child, compiled=compiled))


def _form(part: nn.Module, *, compiled: bool) -> nn.Module:
    if isinstance(part, Bottleneck):
        return FusedBottleneck(part)
    if isinstance(part, nn.Sequential):
        return nn.Sequential(*_fused(part, compiled=compiled))
    if compiled and isinstance(part, nn.Conv2d) and _by_channel(part):
        return ShiftedTaps(part)
    _replace(part, compiled=compiled)
    return part


def _fused(parts: nn.Sequential, *, compiled: bool) -> list[nn.Module]:
    """Return the parts, with each convolution and the ReLU or ReLU6 after it merged into one."""
    made: list[nn.Module] = []
    for part in parts:
        before = made[-1] if made else None
        if isinstance(part, nn.ReLU | nn.ReLU6) and _takes_relu(before):
            made[-1] = ConvRelu(before, 6 if isinstance(part, nn.ReLU6) else None)
        elif not isinstance(part, nn.Identity):
            made.append(_form(part, compiled=compiled))
    return made


def _takes_relu(part: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    return isinstance(part, nn.Conv2d) and part.dilation == (1, 1) and not _by_channel(part)


def _by_channel(conv: nn.Conv2d) -> bool:
    return 1 < conv.groups == conv.in_channels == conv.out_channels and conv.dilation == (1, 1)


@torch.library.custom_op("br2focus::conv_relu", mutates_args=())
def conv_relu(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """Compute ``relu(conv(x) + bias)`` in one kernel of cuDNN, or in three where it has none."""
    if x.is_cuda:
        square = (stride, stride), (padding, padding), (1, 1)
        try:
            return torch.cudnn_convolution_relu(x, weight, bias, *square, groups)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an old GPU, or a shape that it does not support
            pass
    return F.relu(F.conv2d(x, weight, bias, stride, padding, 1, groups))


@conv_relu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding, 1, groups)


class ConvRelu(nn.Module):
    """``conv`` and a ReLU, clipped at ``most``."""

    def __init__(self, conv: nn.Conv2d, most: float | None = None) -> None:
        super().__init__()
        self.bias = conv.bias
        if self.bias is None:
            zeros = conv.weight.new_zeros(conv.out_channels)
            self.bias = nn.Parameter(zeros, requires_grad=False)
        self.most = most
        weight, self.groups = _wide_groups(conv)
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.stride, self.padding = conv.stride[0], cast(int, conv.padding[0])

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        y: Tensor = conv_relu(x, self.weight, self.bias, self.stride, self.padding, self.groups)
        return y if self.most is None else y.clamp(max=self.most)


def _wide_groups(conv: nn.Conv2d) -> tuple[Tensor, int]:
    """Return the weights, with zeros between narrow groups: tensor cores take 32 channels as fast as four."""
    each = conv.in_channels // conv.groups
    together = WIDE // each if conv.groups > 1 and each < WIDE // 2 else 1
    if together == 1 or conv.groups % together:
        return conv.weight, conv.groups
    groups, made = conv.out_channels // conv.groups, conv.weight.detach()
    place = torch.arange(conv.out_channels, device=made.device) // groups % together
    own = F.one_hot(place, together).to(made)  # O x together
    wide = own[:, :, None, None, None] * made[:, None]
    return _ordered(wide.flatten(1, 2)), conv.groups // together


def _ordered(weight: Tensor) -> Tensor:
    """Return ``weight`` channels last, as cuDNN takes it; in another order every call would copy it."""
    return weight.contiguous(memory_format=torch.channels_last)


class FusedBottleneck(nn.Module):
    """The residual block of ResNet and ResNeXt, with its BatchNorm folded."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.enter, self.middle = ConvRelu(block.conv1), ConvRelu(block.conv2)
        self.leave = block.conv3
        self.shortcut = nn.Identity() if block.downsample is None else block.downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x O x H/stride x W/stride."""
        y: Tensor = self.leave(self.middle(self.enter(x)))
        return F.relu(y + self.shortcut(x))


class ShiftedTaps(nn.Module):
    """A convolution per channel as shifted multiply-adds, which a compiler turns into one loop."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.side, self.stride = conv.kernel_size[0], conv.stride[0]
        self.padding = cast(int, conv.padding[0])
        taps = conv.weight.detach().flatten(1).T[:, :, None, None].contiguous()
        self.taps = nn.Parameter(taps, requires_grad=False)  # k*k x C x 1 x 1
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        around = F.pad(x, (self.padding,) * 4)
        start = around.new_zeros(()) if self.bias is None else self.bias.view(1, -1, 1, 1)
        return _with_taps(start, around, self.taps, self.side, self.stride)


def _with_taps(total: Tensor, around: Tensor, taps: Tensor, side: int, stride: int = 1) -> Tensor:
    """Add to ``total`` what each of ``taps`` (side*side x C x 1 x 1) takes from its place in ``around``."""
    height, width = ((length - side) // stride * stride + 1 for length in around.shape[-2:])
    for tap, weight in enumerate(taps):
        dy, dx = divmod(tap, side)
        total = total + around[..., dy : dy + height : stride, dx : dx + width : stride] * weight
    return total


class ToOne(nn.Module):
    """A 1x1 convolution to one channel as a weighted sum, which a compiler fuses with what precedes it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d) and conv.out_channels == 1
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x 1 x H x W."""
        total = (x * self.weight).sum(1, keepdim=True)
        return total if self.bias is None else total + self.bias


class GpuRlrm(Rlrm):
    """A refining unit that enlarges its taps along the rows with a matrix product.

    Weights are sliced and reordered once, not in every call. cuDNN would pad a convolution of C + 1 channels
    to the next multiple of eight, so the map's channel enters separately.
    """

    def __init__(self, unit: Rlrm) -> None:
        nn.Module.__init__(self)
        self.residual, self.body, self.enter = unit.residual, unit.body, unit.enter
        weight = unit.enter.weight.detach()
        self.taps = nn.Parameter(_ordered(unit._taps().detach()), requires_grad=False)
        self.of_feature = nn.Parameter(_ordered(weight[:, 1:]), requires_grad=False)
        self.of_map = nn.Parameter(_ordered(weight[:, :1]), requires_grad=False)

    def forward(self, p: Tensor, feature: Tensor) -> Tensor:
        """See `Rlrm.forward`."""
        return self.leave(p, self.enter_map(p) + self.enter_feature(feature))

    def enter_map(self, p: Tensor) -> Tensor:
        """See `Rlrm.enter_map`."""
        return F.conv2d(p, self.of_map, self.enter.bias, padding=1)

    def enter_feature(self, feature: Tensor) -> Tensor:
        """See `Rlrm.enter_feature`."""
        return F.conv2d(feature, self.of_feature, padding=1)

    def _taps(self) -> Tensor:
        return self.taps

    def _across(self, taps: Tensor, width: int) -> Tensor:
        # Channels are contiguous, ordered (dx, dy, o): pixels and their taps dx are the rows of a matrix.
        count, channels, height, small = taps.shape
        rows = taps.permute(0, 2, 3, 1).reshape(count * height, 3 * small, channels // 3)
        spread = _spread(width, small, taps.dtype, taps.device).expand(len(rows), -1, -1)
        made = torch.bmm(spread, rows).view(count, height, width, channels // 3)
        return made.permute(0, 3, 1, 2)


class PointwiseRlrm(GpuRlrm):
    """A refining unit whose one-channel ends are multiply-adds, which a compiler fuses with the rest."""

    def __init__(self, unit: Rlrm) -> None:
        super().__init__(unit)
        self.body[-1] = ToOne(self.body[-1])
        of_map = self.of_map.detach()[:, 0].flatten(1).T[:, :, None, None].contiguous()  # 9 x O x 1 x 1
        self.of_map = nn.Parameter(of_map, requires_grad=False)

    def enter_map(self, p: Tensor) -> Tensor:
        """See `Rlrm.enter_map`."""
        assert self.enter.bias is not None
        start = self.enter.bias.view(1, -1, 1, 1)
        return _with_taps(start, F.pad(p, (1, 1, 1, 1)), self.of_map, 3)

    def _down(self, rows: Tensor, height: int) -> Tensor:
        # Six rows per output row. A resize would first write all three taps at the output size.
        sizes = height, rows.shape[-2], rows.dtype, rows.device
        around, shares = _around(*sizes), _shares(*sizes)
        total: Tensor | float = 0.0
        for dy, part in enumerate(rows.chunk(3, 1)):
            for side in range(around.shape[1]):
                total = total + part[:, :, around[dy, side]] * shares[dy, side, :, None]
        assert isinstance(total, Tensor)
        return total


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _spread(outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return each output's weights for three taps of each input of a row: outputs x 3*inputs."""
    return _tables(outputs, inputs, dtype, device)[0]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _around(outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the indices of the two inputs around each output, for each tap: 3 x 2 x outputs."""
    return _tables(outputs, inputs, dtype, device)[1]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _shares(outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the weights of these two inputs: 3 x 2 x outputs."""
    return _tables(outputs, inputs, dtype, device)[2]


@cache  # no limit: a graph reads them as long as it lives, and they are small
def _tables(
    outputs: int, inputs: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):
        eye = torch.eye(inputs, dtype=torch.float64)[None]
        enlarged = F.interpolate(eye, size=outputs, mode="linear", align_corners=False)[0].T
        padded = F.pad(enlarged, (0, 0, 1, 1))  # zeros, as around a convolution
        shifted = torch.stack([padded[tap : tap + outputs] for tap in range(3)])
        shares, around = shifted.topk(min(2, inputs), 2)  # at most two are not zero
        spread = shifted.permute(1, 2, 0).flatten(1)
        return (
            spread.to(device, dtype),
            around.transpose(1, 2).contiguous().to(device),
            shares.transpose(1, 2).contiguous().to(device, dtype),
        )
