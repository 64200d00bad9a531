"""The refining unit: its exact fast form against its formula."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from br2focus.models.rlrm import Rlrm, Size, resize


def random_unit(channels: int, width: int, *, residual: bool = True) -> Rlrm:
    torch.manual_seed(3)
    unit = Rlrm(channels, width, residual=residual).eval()
    for module in unit.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.2)
    return unit


def both_forms(unit: Rlrm, p: Tensor, feature: Tensor) -> tuple[Tensor, Tensor, str]:
    """The formula, the fast form, and what both took."""
    size = (p.shape[-2], p.shape[-1])
    with torch.inference_mode():
        start = time.perf_counter()
        plain = unit(p, resize(feature, size))
        middle = time.perf_counter()
        fast = unit.by_taps(p, feature)
        end = time.perf_counter()
    text = f"plain {1e3 * (middle - start):.1f} ms, by taps {1e3 * (end - middle):.1f} ms"
    return plain, fast, text


@pytest.mark.parametrize(
    ("channels", "small", "large"),
    [
        (256, (20, 20), (40, 40)),
        (512, (10, 10), (40, 40)),
        (2048, (5, 5), (40, 40)),
        (128, (21, 16), (41, 31)),
        (128, (6, 4), (41, 31)),
        (64, (41, 31), (41, 31)),
        (64, (1, 1), (8, 8)),
        (32, (1, 7), (3, 25)),
        (32, (19, 13), (7, 5)),
    ],
)
def test_taps_give_the_same_map(
    channels: int, small: Size, large: Size, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = random_unit(channels, 64)
    p, feature = torch.randn(2, 1, *large), torch.randn(2, channels, *small)
    plain, fast, text = both_forms(unit, p, feature)
    with capsys.disabled():
        print(f"\n  {channels} x {small} -> {large}: {text}", end="")
    assert (plain - fast).abs().max() <= 1e-4
    assert (plain - p).abs().max() > 0.01, "the unit changes nothing: nothing is compared"


def test_taps_without_residual() -> None:
    unit = random_unit(24, 8, residual=False)
    p, feature = torch.randn(1, 1, 17, 23), torch.randn(1, 24, 5, 6)
    plain, fast, _ = both_forms(unit, p, feature)
    assert (plain - fast).abs().max() <= 1e-4


def test_residual_is_the_difference_between_the_two_forms() -> None:
    adds, replaces = random_unit(8, 4), random_unit(8, 4, residual=False)
    replaces.load_state_dict(adds.state_dict())
    p, feature = torch.randn(1, 1, 9, 9), torch.randn(1, 8, 9, 9)
    torch.testing.assert_close(adds(p, feature), p + replaces(p, feature))


def test_resize_leaves_a_map_of_the_right_size_alone() -> None:
    x = torch.randn(1, 2, 5, 7)
    assert resize(x, (5, 7)) is x
    assert resize(x, (10, 3)).shape == (1, 2, 10, 3)
