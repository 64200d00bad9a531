"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, designed for CPUs.

Tan and Le, ICML 2019; the Lite variants are Google's (2020): stem and head are not scaled. torchvision
has EfficientNet but not this variant. Padding is the same on all sides. TensorFlow, the source of the
published weights, pads an even size only at its end where the stride is 2.

>>> import torch
>>> net = EfficientNetLite(1.0, 1.0).eval()
>>> [tuple(stage(torch.zeros(1, 3, 64, 64)).shape) for stage in net.features[:1]]
[(1, 32, 32, 32)]
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

# Seven stages: expansion, channels, repeats, stride, kernel (EfficientNet-B0, table 1).
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, active: bool = True
) -> Conv2dNormActivation:
    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)

    return Conv2dNormActivation(
        inputs,
        outputs,
        kernel,
        stride,
        groups=groups,
        norm_layer=norm,
        activation_layer=nn.ReLU6 if active else None,
    )


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a filter per channel and a projection, added to the input if the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = {"expand": _conv(inputs, hidden)} if expansion > 1 else {}
        layers["depthwise"] = _conv(hidden, hidden, kernel, stride, groups=hidden)
        layers["project"] = _conv(hidden, outputs, active=False)
        self.conv = nn.Sequential(OrderedDict(layers))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def _round_to_8(channels: float) -> int:
    """Round to a multiple of 8, never below 90 % (the rule of MobileNet and EfficientNet)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class EfficientNetLite(nn.Module):
    """The convolutional part; ``features`` holds the stem and seven stages, strides 2 to 32.

    Args:
        width: factor on the channels; 1.0 for Lite0 and Lite1, 1.1 for Lite2.
        depth: factor on the repeats; 1.0, 1.1 and 1.2. The first and the last stage keep their repeats.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv(3, 32, 3, 2))
        inputs = 32
        for index, (expansion, channels, repeats, stride, kernel) in enumerate(_STAGES):
            outputs = _round_to_8(channels * width)
            count = repeats if index in (0, len(_STAGES) - 1) else math.ceil(repeats * depth)
            stage = nn.Sequential(InvertedResidual(inputs, outputs, expansion, stride, kernel))
            for _ in range(count - 1):
                stage.append(InvertedResidual(outputs, outputs, expansion, 1, kernel))
            self.features.append(stage)
            inputs = outputs


# Layer names in the files of the package efficientnet_lite_pytorch -> ours.
_RENAMED = {
    "_expand_conv": "conv.expand.0",
    "_bn0": "conv.expand.1",
    "_depthwise_conv": "conv.depthwise.0",
    "_bn1": "conv.depthwise.1",
    "_project_conv": "conv.project.0",
    "_bn2": "conv.project.1",
}


def rename_weights(net: EfficientNetLite, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``published`` weights under our names; they have those of efficientnet_lite_pytorch.

    That package numbers all blocks consecutively. Weights without a place in ``net`` (head, classifier,
    blocks of a deeper network) are left out.
    """
    places = [name for name, module in net.named_modules() if isinstance(module, InvertedResidual)]
    ours = {}
    for name, tensor in published.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            block, layer, leaf = int(match[1]), match[2], match[3]
            if block < len(places) and layer in _RENAMED:
                ours[f"{places[block]}.{_RENAMED[layer]}.{leaf}"] = tensor
        elif match := re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", name):
            ours[f"features.0.{int(match[1] == '_bn0')}.{match[2]}"] = tensor
    return ours
