"""BR2Net against its published size and against a second, naive implementation of its formulas.

The second one lives in this file and shares nothing with the first but the tensors of its state dict: own
convolution, resizing, pooling and BatchNorm, and taps from torchvision's network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import Tensor, nn

from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig
from br2focus.models.rlrm import Rlrm

State = Mapping[str, Tensor]
TINY = BR2NetConfig(backbone="mobilenet_v2", width=4, reduce=8, fusion="mean")


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("backbone", "count"),
    [("resnext101_32x4d", 50_589_646), ("resnext50_32x4d", 31_440_846), ("vgg16", 18_717_110)],
)
def test_parameters_are_those_of_the_paper(backbone: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(BR2Net(BR2NetConfig(backbone=backbone, fusion="mean"))) == count
        assert parameters(BR2Net(BR2NetConfig(backbone=backbone, fusion="conv"))) == count + 3


@pytest.mark.parametrize("channels", [64, 256, 2048])
def test_parameters_of_one_rlrm(channels: int) -> None:
    assert parameters(Rlrm(channels)) == 1152 * channels + 149_507


def test_fusion_starts_as_the_mean() -> None:
    net = BR2Net(replace(TINY, fusion="conv"))
    u, v = torch.randn(2, 1, 1, 5, 7)
    torch.testing.assert_close(net.fusion(u, v), (u + v) / 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", "alexnet"),
        ("attention", "eca"),
        ("fusion", "sum"),
        ("rlrm", "no"),
        ("width", 0),
        ("width", 1 << 40),
        ("reduce", 0),
        ("reduce", 8.5),
        ("h2l_tap", 6),
        ("h2l_shrink", "nearest"),
    ],
)
def test_a_wrong_switch_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} = "):
        BR2NetConfig(**{field: value})  # type: ignore[arg-type]


# The naive implementation. Every function is one line of the paper's table.


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    """Convolution with zero padding to the same size: one matrix product for every offset."""
    height, width = x.shape[-2:]
    side = weight.shape[-1]
    reach = dilation * (side // 2)
    padded = x.new_zeros(*x.shape[:2], height + 2 * reach, width + 2 * reach)
    padded[:, :, reach : reach + height, reach : reach + width] = x
    out = x.new_zeros(x.shape[0], weight.shape[0], height, width)
    for dy in range(side):
        for dx in range(side):
            top, left = dy * dilation, dx * dilation
            part = padded[:, :, top : top + height, left : left + width]
            out += torch.einsum("oc,bchw->bohw", weight[:, :, dy, dx], part)
    return out if bias is None else out + bias[:, None, None]


def lerp_matrix(large: int, small: int) -> Tensor:
    """Rows: weights of ``small`` samples in each of ``large``, pixel centres at i + .5."""
    matrix = torch.zeros(large, small, dtype=torch.float64)
    for i in range(large):
        place = max((i + 0.5) * small / large - 0.5, 0.0)
        low = math.floor(place)
        matrix[i, low] += 1 - (place - low)
        matrix[i, min(low + 1, small - 1)] += place - low
    return matrix


def mean_matrix(small: int, large: int) -> Tensor:
    """Rows: each of ``small`` cells is the mean of the ``large`` samples that it touches."""
    matrix = torch.zeros(small, large, dtype=torch.float64)
    for i in range(small):
        first, last = i * large // small, -((-(i + 1) * large) // small)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def resample(x: Tensor, size: tuple[int, int], rows: Callable[[int, int], Tensor]) -> Tensor:
    down, across = rows(size[0], x.shape[-2]), rows(size[1], x.shape[-1])
    return torch.einsum("yh,bchw,xw->bcyx", down, x, across)


def up(x: Tensor, size: tuple[int, int]) -> Tensor:
    return resample(x, size, lerp_matrix)


def norm(x: Tensor, s: State, name: str) -> Tensor:
    """BatchNorm by its running statistics."""
    mean, var, w, b = (
        s[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * w + b


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0 * x)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def linear(x: Tensor, s: State, name: str, dilation: int = 1) -> Tensor:
    return conv(x, s[f"{name}.weight"], s.get(f"{name}.bias"), dilation)


def bottleneck(z: Tensor, s: State, name: str) -> Tensor:
    return linear(relu(linear(z, s, f"{name}.0")), s, f"{name}.2")


def attend(kind: str, feature: Tensor, s: State, name: str) -> Tensor:
    pooled = feature.sum((2, 3), keepdim=True) / (feature.shape[2] * feature.shape[3])
    if kind == "se":
        return sigmoid(bottleneck(pooled, s, f"{name}.excite")) * feature
    if kind == "bam":
        y = linear(feature, s, f"{name}.spatial.0")
        y = relu(norm(linear(y, s, f"{name}.spatial.1", 4), s, f"{name}.spatial.2"))
        y = relu(norm(linear(y, s, f"{name}.spatial.4", 4), s, f"{name}.spatial.5"))
        spatial = linear(y, s, f"{name}.spatial.7")
        gain = sigmoid(bottleneck(pooled, s, f"{name}.channel") + spatial)
        return feature + feature * gain
    if kind == "cbam":
        peak = feature.flatten(2).max(2).values[:, :, None, None]
        excite = f"{name}.channel"
        feature = feature * sigmoid(bottleneck(pooled, s, excite) + bottleneck(peak, s, excite))
        means = feature.sum(1, keepdim=True) / feature.shape[1]
        both = torch.stack([means[:, 0], feature.max(1).values], 1)
        return feature * sigmoid(linear(both, s, f"{name}.spatial"))
    return feature


def refine(config: BR2NetConfig, p: Tensor, feature: Tensor, s: State, name: str) -> Tensor:
    """p + Phi([p ; A]) for a feature already at the size of p."""
    x = linear(torch.cat([p, feature], 1), s, f"{name}.enter")
    x = prelu(norm(x, s, f"{name}.body.0"), s[f"{name}.body.1.weight"])
    x = linear(x, s, f"{name}.body.2")
    x = prelu(norm(x, s, f"{name}.body.3"), s[f"{name}.body.4.weight"])
    x = linear(x, s, f"{name}.body.5")
    return p + x if config.rlrm else x


def taps_of_torchvision(backbone: str, s: State, x: Tensor) -> list[Tensor]:
    """F1..F5 as network.md lists them, from torchvision's own network with the same weights."""
    stages = {k.removeprefix("backbone.stages."): v for k, v in s.items() if "stages" in k}
    build = getattr(torchvision.models, backbone)
    net: nn.Module = build().double().eval()
    if backbone == "mobilenet_v2":
        state = {f"features.{key.partition('.')[2]}": tensor for key, tensor in stages.items()}
        missing = net.load_state_dict(state, strict=False).missing_keys
        assert all(key.startswith(("classifier.", "features.18.")) for key in missing)
        ends, taps = (3, 6, 10, 13, 17), []
        for index, layer in enumerate(net.features[:18]):
            x = layer(x)
            if index in ends:
                taps.append(x)
        return taps
    stem = {
        "0.0": "conv1",
        "0.1": "bn1",
        "1": "layer1",
        "2": "layer2",
        "3": "layer3",
        "4": "layer4",
    }
    state = {}
    for key, tensor in stages.items():
        head = next(h for h in stem if key.startswith(h + "."))
        state[stem[head] + key.removeprefix(head)] = tensor
    missing = net.load_state_dict(state, strict=False).missing_keys
    assert all(key.startswith("fc.") for key in missing)
    f1 = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    f2 = net.layer1(f1)
    f3 = net.layer2(f2)
    f4 = net.layer3(f3)
    return [f1, f2, f3, f4, net.layer4(f4)]


def naive_maps(config: BR2NetConfig, s: State, x: Tensor) -> list[Tensor]:
    """The eleven maps of network.md section 2, every one written out."""
    a = []
    for k, tap in enumerate(taps_of_torchvision(config.backbone, s, x)):
        attended = attend(config.attention, tap, s, f"cam.{k}")
        a.append(linear(attended, s, f"reduce.{k}") if config.reduce else attended)
    size1, size_v = tuple(a[0].shape[-2:]), tuple(a[config.h2l_tap - 1].shape[-2:])
    u = [linear(a[0], s, "l2h_start")]
    for t in range(1, 5):
        u.append(refine(config, u[-1], up(a[t], size1), s, f"l2h.{t - 1}"))

    def to_h2l(feature: Tensor) -> Tensor:
        shrinks = feature.shape[-1] > size_v[1] and config.h2l_shrink == "area"
        return resample(feature, size_v, mean_matrix) if shrinks else up(feature, size_v)

    v = [to_h2l(linear(a[4], s, "h2l_start"))]
    for t in range(1, 5):
        v.append(refine(config, v[-1], to_h2l(a[4 - t]), s, f"h2l.{t - 1}"))
    size = tuple(x.shape[-2:])
    maps = [up(m, size) for m in [*u, *v]]
    fused = {"l2h": maps[4], "h2l": maps[9], "mean": 0.5 * (maps[4] + maps[9])}
    if config.fusion == "conv":
        (a0, a1), b = s["fuse.weight"].flatten(), s["fuse.bias"]
        fused["conv"] = a0 * maps[4] + a1 * maps[9] + b
    return [*maps, fused[config.fusion]]


def randomise(net: nn.Module) -> None:
    """Weights as initialised; everything that starts as 0 or 1 becomes random too."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.6)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.2)
    if isinstance(net, BR2Net) and net.config.fusion == "conv":
        nn.init.uniform_(net.fuse.weight, 0.2, 0.8)


def both_implementations(config: BR2NetConfig, height: int, width: int) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(7)
    net = BR2Net(config).double().eval()
    randomise(net)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    with torch.no_grad():
        return net(x).all(), naive_maps(config, net.state_dict(), x)


SWITCHES = [
    {},
    {"rlrm": False},
    {"fusion": "l2h"},
    {"fusion": "h2l"},
    {"fusion": "conv"},
    {"attention": "none"},
    {"attention": "bam"},
    {"attention": "cbam"},
    {"reduce": None},
    {"h2l_shrink": "area"},
    {"h2l_tap": 1, "h2l_shrink": "area"},
    {"h2l_tap": 2, "h2l_shrink": "area"},
    {"h2l_tap": 2},
    {"h2l_tap": 4, "rlrm": False, "fusion": "conv", "attention": "none", "reduce": None},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_agrees_with_the_naive_form(switch: dict[str, object]) -> None:
    ours, naive = both_implementations(replace(TINY, **switch), 121, 161)  # type: ignore[arg-type]
    assert len(ours) == len(naive) == 11
    for index, (one, other) in enumerate(zip(ours, naive, strict=True)):
        assert one.shape == other.shape == (2, 1, 121, 161)
        assert one.std() > 1e-3, f"map {index} is constant: nothing is compared"
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5, msg=f"map {index} differs")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 95), (161, 121), (64, 161)])
def test_agrees_at_other_sizes(height: int, width: int) -> None:
    config = replace(TINY, h2l_tap=2, h2l_shrink="area", fusion="conv")
    for one, other in zip(*both_implementations(config, height, width), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_agrees_for_the_paper_on_resnext50() -> None:
    config = BR2NetConfig(width=16)
    for one, other in zip(*both_implementations(config, 65, 49), strict=True):
        assert one.std() > 1e-3
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_float32_agrees_too() -> None:
    torch.manual_seed(7)
    net = BR2Net(TINY).eval()
    randomise(net)
    x = torch.randn(1, 3, 161, 121)
    state = {key: tensor.double() for key, tensor in net.state_dict().items()}
    with torch.no_grad():
        maps, naive = net(x).all(), naive_maps(TINY, state, x.double())
    for one, other in zip(maps, naive, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)
