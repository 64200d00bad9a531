"""Eight-bit integers where they cost nothing: the 3x3 convolutions of the refining units.

These are half of the multiplications of `lite`, and their inputs are few and smooth: the validation error
stays the same, while an eight-bit backbone adds .004 (docs/speed.md). The network marks the inputs with their
ranges (`observe`); a runtime with integer kernels rounds the inputs and the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
import torch.ao.quantization.fx._decomposed  # registers operations that `torch.export` keeps as they are
from torch import Tensor, nn

from .fast import InferenceNet
from .fast_detail import DetailNet
from .rlrm import Rlrm

Range = tuple[float, float]
LEVELS = 256


class Rounded(nn.Module):
    """Rounds an input to 256 levels from ``low`` to ``high``; zero stays zero."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        low, high = min(low, 0.0), max(high, 1e-6)
        self.scale = (high - low) / (LEVELS - 1)
        self.zero = round(-low / self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the nearest levels."""
        grid = (self.scale, self.zero, 0, LEVELS - 1, torch.uint8)
        rounded = torch.ops.quantized_decomposed.quantize_per_tensor.default(x, *grid)
        y: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor.default(rounded, *grid)
        return y


def eligible(net: InferenceNet) -> dict[str, nn.Conv2d]:
    """Return the convolutions that may be rounded, by name; not those that run as taps."""
    found: dict[str, nn.Conv2d] = {}
    for pathway, units in (("l2h", net.net.l2h), ("h2l", net.net.h2l)):
        for index, unit in enumerate(units):
            assert isinstance(unit, Rlrm)
            name = f"{pathway}.{index}"
            if not (pathway == "l2h" and net.by_taps[index]):
                found[f"{name}.enter"] = unit.enter
            found[f"{name}.body.2"] = _middle(unit)
    if net.net.config.detail != "none":
        unit = net.net.detail.refine
        found["detail.refine.enter"], found["detail.refine.body.2"] = unit.enter, _middle(unit)
    return found


def _middle(unit: Rlrm) -> nn.Conv2d:
    conv = unit.body[2]
    assert isinstance(conv, nn.Conv2d)
    return conv


@torch.inference_mode()
def observe(
    net: InferenceNet,
    pictures: Iterable[tuple[Tensor, ...]],
    before: Mapping[str, Range] | None = None,
) -> dict[str, Range]:
    """Return the smallest and the largest input of every eligible convolution.

    Args:
        net: the network.
        pictures: arguments of each call, such as one picture, or a picture and its frame's luma.
        before: ranges found earlier; the result includes them.
    """
    ranges: dict[str, Range] = dict(before or {})

    def watch(name: str) -> object:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = (float(bound) for bound in inputs[0].aminmax())
            known = ranges.get(name, (low, high))
            ranges[name] = min(low, known[0]), max(high, known[1])

        return eligible(net)[name].register_forward_pre_hook(look)

    hooks = [watch(name) for name in eligible(net)]
    try:
        for picture in pictures:
            net(*picture)
    finally:
        for hook in hooks:
            hook.remove()  # type: ignore[attr-defined]
    return ranges


def with_ranges(net: InferenceNet, ranges: Mapping[str, Range]) -> InferenceNet:
    """Return a copy of ``net`` whose eligible convolutions round their inputs to ``ranges``.

    Raises:
        ValueError: a range is missing, or there is one too many.
    """
    marked = copy.deepcopy(net)
    convs = eligible(marked)
    if convs.keys() != ranges.keys():
        raise ValueError(f"ranges are of other layers: {sorted(convs.keys() ^ ranges.keys())[:3]}")
    for name, conv in convs.items():
        owner, _, key = name.rpartition(".")
        rounding = nn.Sequential(Rounded(*ranges[name]), conv)
        setattr(marked.net.get_submodule(owner), key, rounding)
    if isinstance(marked, DetailNet):
        marked.evidence.rounded = Rounded(0, LEVELS - 1)  # luma already consists of bytes
    return marked
