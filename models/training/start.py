"""Starting a network from backbone weights of torchvision's naming."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def calibrate_batchnorm(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give folded BatchNorms real statistics without changing what the network computes.

    Weights whose BatchNorms were folded into the convolutions (mean 0, variance 1) are destroyed by
    training-mode BatchNorm, which normalises by statistics that the weights never saw. Here mean and
    variance become those of the convolution's output over ``batches``, and weight and bias take up the
    difference: ``w (x - m) / s + b`` stays the same function.
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
    """Set the statistics of ``norm`` and rewrite its weight and bias for the same function."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - gain * norm.running_mean.double()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(gain * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + gain * mean)
