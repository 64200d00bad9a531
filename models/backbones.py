"""Five feature taps F1..F5 of classification networks: those of torchvision, and EfficientNet-Lite.

>>> import torch
>>> net = make_backbone("mobilenet_v2").eval()
>>> [tuple(tap.shape) for tap in net(torch.zeros(1, 3, 64, 64))]  # doctest: +NORMALIZE_WHITESPACE
[(1, 24, 16, 16), (1, 32, 8, 8), (1, 64, 4, 4), (1, 96, 4, 4), (1, 320, 2, 2)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torchvision.models as tv
from torch import Tensor, nn

from .config import BACKBONES
from .efficientnet_lite import EfficientNetLite, rename_weights


class BackboneSpec(NamedTuple):
    """One network: how to build it, where to cut it, and the channels of its five taps.

    ``rename`` maps the names of published weights to those of the network.
    """

    build: Callable[[], nn.Module]
    cut: Callable[[Any], list[nn.Module]]
    channels: tuple[int, int, int, int, int]
    rename: Callable[[Any, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None


class Backbone(nn.Module):
    """Runs five stages in sequence and returns the output of each, shallow first."""

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map B x 3 x H x W to five features B x C_k x H/s_k x W/s_k."""
        taps = []
        for stage in self.stages:
            x = stage(x)
            taps.append(x)
        return taps


def _cut_resnet(net: Any) -> list[nn.Module]:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    return [stem, net.layer1, net.layer2, net.layer3, net.layer4]


def _cut_features(*ends: int) -> Callable[[Any], list[nn.Module]]:
    def cut(net: Any) -> list[nn.Module]:
        return [net.features[start:end] for start, end in zip((0, *ends), ends, strict=False)]

    return cut


def _build_resnext101_32x4d() -> nn.Module:
    # torchvision only has 32x8d and 64x4d; the paper's 32x4d is the same class with other parameters.
    blocks = [3, 4, 23, 3]
    net: nn.Module = tv.ResNet(tv.resnet.Bottleneck, blocks, groups=32, width_per_group=4)
    return net


def _efficientnet_lite(width: float, depth: float, channels: tuple[int, int, int, int, int]) -> BackboneSpec:
    cut = _cut_features(3, 4, 5, 6, 8)
    return BackboneSpec(lambda: EfficientNetLite(width, depth), cut, channels, rename_weights)


_RESNEXT_CHANNELS = (64, 256, 512, 1024, 2048)
SPECS: dict[str, BackboneSpec] = {
    "resnext50_32x4d": BackboneSpec(tv.resnext50_32x4d, _cut_resnet, _RESNEXT_CHANNELS),
    "resnext101_32x4d": BackboneSpec(_build_resnext101_32x4d, _cut_resnet, _RESNEXT_CHANNELS),
    "vgg16": BackboneSpec(tv.vgg16, _cut_features(5, 10, 17, 24, 31), (64, 128, 256, 512, 512)),
    "mobilenet_v2": BackboneSpec(tv.mobilenet_v2, _cut_features(4, 7, 11, 14, 18), (24, 32, 64, 96, 320)),
    "efficientnet_lite0": _efficientnet_lite(1.0, 1.0, (24, 40, 80, 112, 320)),
    "efficientnet_lite2": _efficientnet_lite(1.1, 1.2, (24, 48, 88, 120, 352)),
}


def make_backbone(name: str, start: Mapping[str, Tensor] | None = None) -> Backbone:
    """Make the backbone ``name``, with random weights or those of ``start``.

    Args:
        name: one of `BACKBONES`.
        start: a state dict with the names of torchvision (for EfficientNet-Lite, of its package). Entries
            after the last tap (the classifier) are not needed.

    Raises:
        ValueError: the name is unknown, or ``start`` lacks a tensor or has one of another shape.
    """
    if name not in SPECS:
        raise ValueError(f"backbone {name!r} is not one of {', '.join(BACKBONES)}")
    spec = SPECS[name]
    net = spec.build()
    backbone = Backbone(spec.cut(net), spec.channels)
    if start is not None:
        _load_start(net, backbone, spec.rename(net, start) if spec.rename else start)
    return backbone


def _load_start(net: nn.Module, backbone: Backbone, start: Mapping[str, Tensor]) -> None:
    """Load ``start`` into ``net``; its tensors that ``backbone`` shares (by identity) are the ones needed."""
    kept = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
    wanted = {
        key: tensor
        for key, tensor in net.state_dict(keep_vars=True).items()
        if id(tensor) in kept and not key.endswith("num_batches_tracked")
    }
    wrong = [k for k, t in wanted.items() if k not in start or start[k].shape != t.shape]
    if wrong:
        raise ValueError(f"backbone weights lack or differ in {len(wrong)} tensors: {wrong[:5]}")
    net.load_state_dict({key: start[key].float() for key in wanted}, strict=False)
