"""Calibration of folded BatchNorms: the same function, with statistics that training can use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from br2focus.models.training.start import calibrate_batchnorm


def folded_net(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Two convolutions with BatchNorms that do nothing, as folding leaves them."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4)
    ).to(dtype)


def pictures(count: int = 3) -> list[Tensor]:
    torch.manual_seed(1)
    return [3 * torch.randn(2, 3, 12, 14, dtype=torch.float64) + 1 for _ in range(count)]


def test_the_function_stays_and_statistics_become_real() -> None:
    net = folded_net().eval()
    x = torch.cat(pictures())
    with torch.no_grad():
        before = net(x)
        calibrate_batchnorm(net, pictures())
        torch.testing.assert_close(net(x), before)
        for index in (1, 4):
            norm, entering = net[index], net[:index](x)
            assert isinstance(norm, nn.BatchNorm2d)
            torch.testing.assert_close(norm.running_mean, entering.mean((0, 2, 3)))
            variance = entering.var((0, 2, 3), unbiased=False)
            torch.testing.assert_close(norm.running_var, variance)
        torch.testing.assert_close(net.train()(x), before, rtol=1e-4, atol=1e-4)


def test_without_it_training_mode_destroys_the_function() -> None:
    net, x = folded_net(), torch.cat(pictures())
    with torch.no_grad():
        assert (net.train()(x) - net.eval()(x)).abs().max() > 0.1


def test_statistics_that_are_real_already_are_kept_as_a_function() -> None:
    net, x = folded_net(), torch.cat(pictures())
    with torch.no_grad():
        for _ in range(20):
            net.train()(x)
        before = net.eval()(x)
        calibrate_batchnorm(net, pictures())
        torch.testing.assert_close(net(x), before)


def test_a_channel_without_variance_stays_finite() -> None:
    net = folded_net()
    nn.init.zeros_(net[0].weight)  # type: ignore[arg-type]
    with torch.no_grad():
        calibrate_batchnorm(net, pictures())
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
    assert net[1].running_var.min() >= 0  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_and_no_hook_is_left(training: bool) -> None:
    net = folded_net().train(training)
    calibrate_batchnorm(net, pictures(1))
    assert net.training is training
    assert not any(module._forward_pre_hooks for module in net.modules())
