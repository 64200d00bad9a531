"""The inference form: every rewrite gives the result of the formula it replaces, at every size and switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.fast import InferenceNet, exported
from br2focus.models.gpu_forms import use_gpu_forms
from br2focus.models.phases import phase_kernel, phases

TINY = BR2NetConfig(backbone="mobilenet_v2", width=8, reduce=8, fusion="mean", h2l_tap=2)
AREA = replace(TINY, h2l_shrink="area")
HALF, IMAGENET = InputScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), InputScale()
VARIANTS = {
    "lite's": (AREA, HALF),
    "means differ": (AREA, IMAGENET),
    "no reduction": (replace(TINY, reduce=None), HALF),
    "conv fusion": (replace(AREA, fusion="conv"), IMAGENET),
    "l2h alone": (replace(AREA, fusion="l2h"), HALF),
    "h2l alone": (replace(AREA, fusion="h2l"), HALF),
    "h2l at the deepest tap": (replace(AREA, h2l_tap=5), HALF),
    "h2l at the first tap": (replace(AREA, h2l_tap=1), HALF),
    "no residual": (replace(AREA, rlrm=False), HALF),
    "bam": (replace(AREA, attention="bam"), HALF),
    "cbam": (replace(AREA, attention="cbam"), HALF),
    "vgg16": (BR2NetConfig(backbone="vgg16", width=8), IMAGENET),
    "paper": (BR2NetConfig(backbone="resnext50_32x4d", width=16), IMAGENET),
    "efficientnet": (replace(AREA, backbone="efficientnet_lite0"), HALF),
}


def random_net(config: BR2NetConfig) -> BR2Net:
    """Weights as initialised, and statistics of BatchNorm under which the map depends on the picture."""
    torch.manual_seed(5)
    net = BR2Net(config).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.6)
    with torch.no_grad():
        net(torch.rand(2, 3, 64, 96) * 4 - 2)
    return net.eval()


def plainly(net: BR2Net, scale: InputScale, pictures: Tensor) -> Tensor:
    """The network as the training runs it."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (scale.mean, scale.std))
    rgb = pictures.flip(-1).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return torch.sigmoid(net((rgb - mean) / std).fused)[:, 0]


def noise(height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (batch, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_the_network_itself(variant: str) -> None:
    config, scale = VARIANTS[variant]
    net = random_net(config)
    fast = InferenceNet(net, scale)
    for height, width in ((64, 96), (96, 32), (61, 83)):
        pictures = noise(height, width, batch=2)
        plain = plainly(net, scale, pictures)
        assert plain.std() > 1e-4, "a constant map: nothing is compared"
        with torch.inference_mode():
            assert (fast(pictures) - plain).abs().max() <= 1e-4, (height, width)
    for compiled in (False, True):
        ours = InferenceNet(net, scale)
        use_gpu_forms(ours, compiled=compiled)
        with torch.inference_mode():
            assert (ours(pictures) - plain).abs().max() <= 1e-4, "for a GPU"


@pytest.mark.parametrize("size", [(32, 32), (32, 320), (33, 31), (121, 161), (128, 64), (1, 1), (31, 1)])
def test_every_size_is_the_network_itself(size: tuple[int, int]) -> None:
    net = random_net(AREA)
    pictures = noise(*size)
    with torch.inference_mode():
        assert (InferenceNet(net, HALF)(pictures) - plainly(net, HALF, pictures)).abs().max() <= 1e-4


def test_the_network_given_is_left_as_it_was() -> None:
    net = random_net(AREA)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    InferenceNet(net, IMAGENET)
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("variant", ["lite's", "no reduction", "conv fusion"])
def test_one_exported_graph_serves_every_size(variant: str) -> None:
    config, scale = VARIANTS[variant]
    net = random_net(config)
    graph = exported(InferenceNet(net, scale)).module()
    for height, width in ((64, 64), (64, 320), (160, 96)):
        pictures = noise(height, width)
        with torch.inference_mode():
            difference = (graph(pictures) - plainly(net, scale, pictures)).abs().max()
        assert difference <= 1e-4, (height, width)


@pytest.mark.parametrize(("factor", "height", "width"), [(1, 3, 4), (2, 1, 1), (4, 5, 7), (8, 2, 3)])
def test_phases_are_a_bilinear_resize(factor: int, height: int, width: int) -> None:
    p = torch.randn(2, 1, height, width)
    wanted = F.interpolate(p, scale_factor=float(factor), mode="bilinear", align_corners=False)
    torch.testing.assert_close(F.pixel_shuffle(phases(p, phase_kernel(factor)), factor), wanted)


@pytest.mark.parametrize(("factor", "inner"), [(8, 4), (8, 2), (4, 4), (32, 4), (6, 3)])
def test_phases_in_two_shuffles(factor: int, inner: int) -> None:
    p = torch.randn(1, 1, 3, 5)
    halfway = F.pixel_shuffle(phases(p, phase_kernel(factor, inner)), factor // inner)
    assert halfway.shape == (1, inner**2, 3 * factor // inner, 5 * factor // inner)
    wanted = F.interpolate(p, scale_factor=float(factor), mode="bilinear", align_corners=False)
    torch.testing.assert_close(F.pixel_shuffle(halfway, inner), wanted)
