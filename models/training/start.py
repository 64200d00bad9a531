"""The start of a network: backbone weights with published names, or a trained network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.evaluation.masks import UnreadableError

from .config import TrainingConfig


def start_network(config: TrainingConfig, root: Path) -> BR2Net:
    """Return the network before its first iteration: random, with a trained backbone, or a trained network.

    Raises:
        OSError: a file is missing.
        UnreadableError: the file of weights is damaged, or contains something else.
        CheckpointError: ``start`` is missing or damaged.
        ValueError: the weights are those of another backbone or network.
    """
    if config.start:
        net, info = checkpoint.load(checkpoint.find(config.start)[0])
        same = replace(info.config, detail=config.network.detail)
        if (same, info.scale) != (config.network, config.scale):
            raise ValueError(f"start = {config.start!r}: another network, or another input scale")
        if info.config == same:
            return net
        if config.keep:
            raise ValueError(f"keep: start = {config.start!r} lacks a part of the network")
        detailed = BR2Net(config.network)  # the start has no detail, which begins at random
        detailed.load_state_dict(net.state_dict(), strict=False)
        return detailed
    weights = read_weights(root / config.backbone_start) if config.backbone_start else None
    return BR2Net(config.network, weights)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read tensors by name from a safetensors file.

    Raises:
        OSError: there is no such file.
        UnreadableError: the file is damaged, or of another kind.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UnreadableError(f"{path}: not a safetensors file ({error})") from error


@torch.no_grad()
def calibrate_batchnorm(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give folded BatchNorms real statistics without changing what the network computes.

    BatchNorms that were folded into the convolutions have mean 0 and variance 1. In training mode, BatchNorm
    normalises by statistics that such weights never saw, which destroys them. Here, mean and variance become
    those of the convolution's output over ``batches``, and weight and bias make up for the difference:
    ``w (x - m) / s + b`` stays the same function.
    """
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def collect(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        x = inputs[0].double()
        count = torch.tensor(float(x.numel() // x.shape[1]))
        new = [count, x.sum((0, 2, 3)), x.square().sum((0, 2, 3))]
        old = sums.setdefault(norm, [torch.zeros_like(t) for t in new])
        sums[norm] = [a + b for a, b in zip(old, new, strict=True)]

    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(collect) for norm in norms]
    training = net.training
    net.eval()
    for batch in batches:
        net(batch)
    for hook in hooks:
        hook.remove()
    net.train(training)
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        _restate(norm, mean, squares / count - mean.square())


def _restate(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Set the statistics of ``norm``, and rewrite its weight and bias to keep the same function."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - gain * norm.running_mean.double()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(gain * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + gain * mean)
