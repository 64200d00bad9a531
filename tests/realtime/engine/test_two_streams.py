"""The network's steps in the order for two streams: the same map, on any device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.fast import InferenceNet
from br2focus.models.gpu_forms import ConvRelu
from br2focus.models.rlrm import Rlrm
from br2focus.realtime.engine.backends.two_streams import TwoStreams

CONFIGS = {
    "paper": BR2NetConfig(width=16),
    "lite": BR2NetConfig("mobilenet_v2", fusion="mean", width=16, reduce=8, h2l_tap=2, h2l_shrink="area"),
    "standard": BR2NetConfig("efficientnet_lite0", fusion="mean", width=16, reduce=8, h2l_tap=2),
    "no residual": BR2NetConfig("mobilenet_v2", width=16, rlrm=False, attention="cbam"),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]


def network(config: BR2NetConfig) -> InferenceNet:
    torch.manual_seed(0)
    net = BR2Net(config).eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.2)
        elif isinstance(part, Rlrm):
            part.body[-1].weight *= 32
    return InferenceNet(net, InputScale()).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(1, 64, 96, 3), (3, 160, 32, 3)], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_map_is_that_of_the_network(name: str, size: tuple[int, ...], device: str) -> None:
    plain = network(CONFIGS[name]).to(device)
    ours = TwoStreams(network(CONFIGS[name]).to(device), compiled=False)
    with torch.inference_mode():
        for seed in range(3):
            torch.manual_seed(seed)
            pictures = torch.randint(256, size, dtype=torch.uint8, device=device)
            wanted, found = plain(pictures), ours(pictures)
            assert wanted.std() > 1e-3, "a flat map: nothing is compared"
            assert (found - wanted).abs().max() < (1e-4 if device == "cpu" else 5e-3)


@pytest.mark.needs_cuda
def test_a_graph_of_both_streams_gives_the_maps_back_to_back() -> None:
    plain, device = network(CONFIGS["paper"]).to("cuda"), torch.device("cuda")
    ours = TwoStreams(network(CONFIGS["paper"]).to(device), compiled=False)
    given = torch.zeros((1, 160, 192, 3), dtype=torch.uint8, device=device)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    pictures = torch.randint(256, (16, *given.shape), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        with torch.cuda.stream(stream):
            ours(given)
        stream.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            made = ours(given)
        found = torch.empty((16, *made.shape), device=device)
        for number, picture in enumerate(pictures):  # nothing waits between them
            given.copy_(picture)
            graph.replay()
            found[number].copy_(made)
        for picture, values in zip(pictures, found, strict=True):
            assert (values - plain(picture)).abs().max() < 5e-3


@pytest.mark.needs_cuda
@pytest.mark.parametrize("groups", [1, 32])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(bad: float, groups: int) -> None:
    conv = nn.Conv2d(128, 128, 3, 1, 1, groups=groups).to("cuda", torch.float16)
    part = ConvRelu(conv.to(memory_format=torch.channels_last))
    x = torch.rand((1, 128, 8, 8), device="cuda", dtype=torch.float16)
    x[0, 0, 4, 4] = bad
    with torch.inference_mode():
        assert not part(x.to(memory_format=torch.channels_last)).isfinite().all()
