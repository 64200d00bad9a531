"""The start of a network: weights from files, and folded BatchNorms calibrated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import InputScale
from br2focus.models.errors import CheckpointError
from br2focus.models.evaluation.masks import UnreadableError
from br2focus.models.training.config import TrainingConfig
from br2focus.models.training.start import calibrate_batchnorm, read_weights, start_network

# Where weights come from.


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {"a.weight": torch.randn(2, 3), "b": torch.randn(4).half()}


def same(found: object, expected: dict[str, Tensor]) -> bool:
    assert isinstance(found, dict)
    return found.keys() == expected.keys() and all(
        torch.equal(found[key], tensor) for key, tensor in expected.items()
    )


def test_weights_keep_names_and_kinds(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "net.safetensors")
    assert same(read_weights(tmp_path / "net.safetensors"), tensors())


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        read_weights(tmp_path / "gone.safetensors")


def test_a_file_of_another_kind_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(tensors(), path)
    pickled = path.read_bytes()
    for content in (b"", b"no weights at all", b"PK\x03\x04 half a zip", pickled):
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=f"{path}: not a safetensors file") as raised:
            read_weights(path)
        assert "\n" not in str(raised.value)


# The network before its first iteration.


@pytest.fixture
def trained(config: TrainingConfig, tmp_path: Path) -> tuple[Path, BR2Net]:
    torch.manual_seed(6)
    net = BR2Net(config.network).half().float()
    checkpoint.save(net, ModelInfo("x", config.network, config.scale), tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors", net


def test_it_goes_on_from_a_checkpoint(
    config: TrainingConfig, trained: tuple[Path, BR2Net], tmp_path: Path
) -> None:
    path, net = trained
    state = start_network(replace(config, start=str(path)), tmp_path).state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in net.state_dict().items())


def test_the_backbone_alone_is_started(config: TrainingConfig, tmp_path: Path) -> None:
    torch.manual_seed(6)
    donor = BR2Net(config.network)
    names = {f"features.{k.split('.', 2)[2]}": t for k, t in donor.backbone.state_dict().items()}
    save_file(names, tmp_path / "start.safetensors")
    net = start_network(replace(config, backbone_start="start.safetensors"), tmp_path)
    state = net.backbone.state_dict()
    assert all(torch.equal(state[k], t) for k, t in donor.backbone.state_dict().items())
    assert not torch.equal(net.l2h_start.weight, donor.l2h_start.weight)


def test_another_network_or_scale_is_refused(
    config: TrainingConfig, trained: tuple[Path, BR2Net], tmp_path: Path
) -> None:
    config = replace(config, start=str(trained[0]))
    others = (
        replace(config, network=replace(config.network, width=9)),
        replace(config, scale=InputScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
    )
    for other in others:
        with pytest.raises(ValueError, match=r"x\.safetensors': another network, or another input"):
            start_network(other, tmp_path)
    with pytest.raises(CheckpointError, match="no model 'nobody'"):
        start_network(replace(config, start="nobody"), tmp_path)


# Calibration.


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
    assert net[1].running_var.min() >= 0  # type: ignore[operator]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_and_no_hook_is_left(training: bool) -> None:
    net = folded_net().train(training)
    calibrate_batchnorm(net, pictures(1))
    assert net.training is training
    assert not any(module._forward_pre_hooks for module in net.modules())
