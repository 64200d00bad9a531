"""Backbones: strides and channels of the taps, and starting from torchvision's state dicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import load_file
from torch import Tensor, nn

from br2focus.models.backbones import SPECS, Backbone, make_backbone
from br2focus.models.config import BACKBONES
from br2focus.models.training.start import calibrate_batchnorm

STRIDES = {
    "resnext50_32x4d": (4, 4, 8, 16, 32),
    "resnext101_32x4d": (4, 4, 8, 16, 32),
    "vgg16": (2, 4, 8, 16, 32),
    "mobilenet_v2": (4, 8, 16, 16, 32),
    "efficientnet_lite0": (4, 8, 16, 16, 32),
    "efficientnet_lite2": (4, 8, 16, 16, 32),
}
CHANNELS = {
    "resnext50_32x4d": (64, 256, 512, 1024, 2048),
    "resnext101_32x4d": (64, 256, 512, 1024, 2048),
    "vgg16": (64, 128, 256, 512, 512),
    "mobilenet_v2": (24, 32, 64, 96, 320),
    "efficientnet_lite0": (24, 40, 80, 112, 320),
    "efficientnet_lite2": (24, 48, 88, 120, 352),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_strides_and_channels(name: str) -> None:
    with torch.device("meta"):
        net = make_backbone(name).eval()
        taps = net(torch.zeros(1, 3, 64, 96))
    assert net.channels == CHANNELS[name]
    expected = [(1, c, 64 // s, 96 // s) for c, s in zip(CHANNELS[name], STRIDES[name], strict=True)]
    assert [tuple(tap.shape) for tap in taps] == expected


def test_every_name_of_the_configuration_can_be_built() -> None:
    assert tuple(SPECS) == BACKBONES


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'alexnet' is not one of resnext50_32x4d, .*efficientnet_lite2"):
        make_backbone("alexnet")


def torchvision_net(name: str) -> nn.Module:
    torch.manual_seed(11)
    net: nn.Module = getattr(tv, name)()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
    return net.eval()


# Layers of torchvision's networks whose outputs are F1..F5.
TAPS = {
    "resnext50_32x4d": ("maxpool", "layer1", "layer2", "layer3", "layer4"),
    "mobilenet_v2": ("features.3", "features.6", "features.10", "features.13", "features.17"),
}


@pytest.mark.parametrize("name", TAPS)
def test_a_torchvision_state_dict_gives_torchvision_s_taps(name: str) -> None:
    net = torchvision_net(name)
    backbone = make_backbone(name, net.state_dict()).eval()
    seen: list[Tensor] = []
    for layer in TAPS[name]:
        net.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o.clone()))
    x = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        net(x)
        for tap, expected in zip(backbone(x), seen, strict=True):
            assert torch.equal(tap, expected)


def test_the_classifier_is_not_needed_and_half_precision_is_read() -> None:
    state = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in torchvision_net("mobilenet_v2").state_dict().items()
        if not key.startswith(("classifier.", "features.18.")) and "num_batches" not in key
    }
    backbone = make_backbone("mobilenet_v2", state)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


def test_errors_name_the_tensors() -> None:
    state = dict(torchvision_net("mobilenet_v2").state_dict())
    del state["features.4.conv.2.weight"]
    state["features.0.1.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="2 tensors") as raised:
        make_backbone("mobilenet_v2", state)
    assert "features.4.conv.2.weight" in str(raised.value)
    assert "features.0.1.bias" in str(raised.value)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"conv1\.weight"):
        make_backbone("resnext50_32x4d", torchvision_net("mobilenet_v2").state_dict())


# The folded weights of the data folder.


@pytest.fixture(scope="module")
def folded(shared: Path) -> dict[str, Tensor]:
    path = shared / "data/weights/mobilenet_v2_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"no weights at {path}")
    return load_file(path)


def pictures(count: int) -> Iterator[Tensor]:
    """Smooth random pictures at the scale of the folded weights: about [-1, 1]."""
    rng = torch.Generator().manual_seed(5)
    for _ in range(count):
        coarse = torch.randn(4, 3, 12, 12, generator=rng)
        fine = 0.2 * torch.randn(4, 3, 96, 96, generator=rng)
        yield (nn.functional.interpolate(coarse, (96, 96), mode="bicubic") + fine).clamp(-1, 1)


def largest(one: list[Tensor], other: list[Tensor]) -> float:
    """Largest difference of the taps, relative to the spread of each."""
    pairs = zip(one, other, strict=True)
    return max(float((a - b).abs().max() / b.std()) for a, b in pairs)


def train_mode(backbone: Backbone, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        taps: list[Tensor] = backbone.train()(x)
    return taps


def test_calibration_keeps_the_function_and_gives_real_statistics(
    folded: dict[str, Tensor],
) -> None:
    backbone = make_backbone("mobilenet_v2", folded).eval()
    (x,) = pictures(1)
    with torch.no_grad():
        before = [tap.clone() for tap in backbone(x)]
        raw = train_mode(make_backbone("mobilenet_v2", folded), x)
        calibrate_batchnorm(backbone, pictures(4))
        assert not backbone.training
        after = backbone(x)
    assert largest(after, before) < 1e-3
    trained = train_mode(backbone, x)
    error = [float((a - b).square().mean().sqrt() / b.std()) for a, b in zip(trained, before, strict=True)]
    without = [float((a - b).square().mean().sqrt() / b.std()) for a, b in zip(raw, before, strict=True)]
    assert max(error) < 0.5 and max(error) < min(without) / 2, (error, without)
