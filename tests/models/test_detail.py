"""Evidence at the frame's own pixels: what it sees, and that its fast form is the same function."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.detail import Blur, Evidence, log_limit
from br2focus.models.fast import InferenceNet
from br2focus.models.fast_detail import DetailNet, FastEvidence, exported, inference_net
from br2focus.models.limits import spacing_of, tolerance, usual_tolerance
from br2focus.models.training.data import normalise

SIZES = [(1280, 720, 480, 256), (641, 427, 480, 320), (1921, 1080, 480, 256), (160, 96, 160, 96)]


def small_net(detail: str = "learned") -> BR2Net:
    torch.manual_seed(1)
    config = BR2NetConfig(
        backbone="mobilenet_v2",
        width=8,
        reduce=8,
        h2l_tap=2,
        h2l_shrink="area",
        fusion="mean",
        detail=detail,  # type: ignore[arg-type]
    )
    net = BR2Net(config).eval()
    if detail != "none":
        with torch.no_grad():
            for conv in net.detail.inject:
                torch.nn.init.normal_(conv.weight, std=0.2)
    return net


def test_a_cell_is_one_to_two_pixels_of_the_map() -> None:
    assert [spacing_of(r) for r in (0.9, 1.0, 1.34, 1.99, 2.0, 2.67, 4.0, 8.0)] == [
        2,
        2,
        2,
        2,
        4,
        4,
        8,
        16,
    ]


def test_the_tolerance_is_the_largest_of_three() -> None:
    assert tolerance(640, 0.5) == usual_tolerance(640) == 0.7
    assert tolerance(3840, 0.5) == pytest.approx(1.6)
    assert tolerance(1920, 3.0) == pytest.approx(2.4)
    for width, softness in ((640, 0.5), (3840, 0.5), (1920, 3.0)):
        limit = log_limit(torch.tensor(softness).log(), torch.tensor(float(width))).exp()
        assert float(limit) == pytest.approx(math.hypot(softness, tolerance(width, softness)))


def test_evidence_is_blind_to_brightness_and_sees_fineness() -> None:
    torch.manual_seed(0)
    evidence = Evidence(4).eval()
    fine = torch.rand(1, 1, 96, 128) * 100
    coarse = torch.nn.functional.avg_pool2d(fine, 5, 1, 2)
    with torch.no_grad():
        means, peak = evidence.answers(fine, 4)
        brighter, _ = evidence.answers(fine + 50, 4)
        blurred, _ = evidence.answers(coarse, 4)
    assert torch.allclose(means[0], brighter[0], atol=1e-3)
    assert (peak >= means[0] - 1e-5).all()
    ratio = means[0].mean((0, 2, 3)) / blurred[0].mean((0, 2, 3))
    assert ratio[4] > 3 * ratio[0], "the finest waves lose most"


@pytest.mark.parametrize("spacing", [2, 4, 8, 16])
def test_blocks_give_the_same_evidence(spacing: int) -> None:
    torch.manual_seed(spacing)
    evidence = Evidence(6).eval()
    luma = torch.randint(0, 256, (2, 1, 211, 333), dtype=torch.uint8)
    ratio = torch.tensor([[0.3], [0.7]])
    with torch.no_grad():
        wanted = evidence(luma.float(), spacing, ratio)
        found = FastEvidence(evidence, spacing)(luma, spacing, ratio)
    assert wanted.shape == found.shape
    assert torch.allclose(wanted, found, atol=1e-4)


def inputs(width: int, height: int, w: int, h: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(width)
    return (
        torch.from_numpy(rng.integers(0, 256, (1, h, w, 3), dtype=np.uint8)),
        torch.from_numpy(rng.integers(0, 256, (1, height, width), dtype=np.uint8)),
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_inference_form_is_the_same_function(size: tuple[int, int, int, int]) -> None:
    net, scale = small_net(), InputScale()
    pictures, luma = inputs(*size)
    with torch.inference_mode():
        blur = net(normalise(pictures[0].numpy(), scale)[None], [luma.float()]).blur
        found = DetailNet(net, scale, size[0] / size[2])(pictures, luma)
    assert blur is not None and found.shape == (1, 3, size[3] // 2, size[2] // 2)
    assert torch.allclose(found[:, :1], blur.log_radius, atol=1e-4)
    assert torch.allclose(found[:, 1:2], blur.gain, atol=1e-4)
    assert torch.allclose(found[:, 2], blur.log_softness[:, None, None], atol=1e-4)


def test_one_graph_serves_frames_of_a_spacing() -> None:
    net, scale = small_net(), InputScale()
    fast = DetailNet(net, scale, 1280 / 480)
    graph = exported(fast).module(check_guards=False)  # no other runtime checks them
    for size in ((1280, 720, 480, 256), (700, 500, 224, 160), (301, 211, 96, 64)):
        with torch.inference_mode():
            assert torch.allclose(graph(*inputs(*size)), fast(*inputs(*size)), atol=1e-4), size


def test_without_detail_it_is_the_network_by_itself() -> None:
    old, new = small_net("none"), small_net()
    names = set(old.state_dict())
    assert names < set(new.state_dict())
    assert all(name.startswith("detail.") for name in set(new.state_dict()) - names)
    assert type(inference_net(old, InputScale(), 4.0)) is InferenceNet
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert old(x).blur is None and old(x).fused.shape == (1, 1, 64, 96)


def test_training_reaches_every_weight() -> None:
    net = small_net().train()
    frames = [torch.rand(1, 200, 264) * 255, torch.rand(1, 96, 128) * 255]
    maps = net(torch.rand(2, 3, 96, 128), frames)
    assert maps.blur is not None and maps.fused.shape == (2, 1, 48, 64)
    loss = sum(m.square().mean() for m in maps.all())
    loss = loss + sum(part.square().mean() for part in maps.blur)
    loss.backward()  # type: ignore[union-attr]
    missing = [n for n, p in net.detail.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


def test_p_falls_with_the_limit_and_is_half_at_it() -> None:
    plane = torch.full((1, 1, 2, 2), math.log(3.0))
    blur = Blur(plane, torch.full_like(plane, 4.0), torch.zeros(1))
    assert torch.allclose(blur.logits(torch.tensor(3.0).log()), torch.zeros(1, 1, 2, 2), atol=1e-6)
    low, high = (torch.sigmoid(blur.logits(torch.tensor(px).log())) for px in (6.0, 1.5))
    assert (low < 0.1).all() and (high > 0.9).all()
