"""The state of a training run on disk: everything that a resumed run needs to go on exactly.

Written as safetensors (never pickle): the network, its moving average, the optimiser's buffers, and the
iteration in the metadata.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from br2focus.models.errors import CheckpointError


def save_state(
    path: Path, iteration: int, nets: dict[str, nn.Module], optimiser: Optimizer
) -> None:
    """Write the state after ``iteration`` iterations; an older file is replaced only when complete."""
    tensors: dict[str, Tensor] = {}
    for name, net in nets.items():
        tensors |= {f"{name}/{key}": t.detach().clone() for key, t in net.state_dict().items()}
    for index, buffers in optimiser.state_dict()["state"].items():
        for key, value in buffers.items():
            if value is not None:
                tensors[f"optimiser/{index}/{key}"] = torch.as_tensor(value).clone()
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"iteration": str(iteration)})
    partial.replace(path)


def load_state(path: Path, nets: dict[str, nn.Module], optimiser: Optimizer) -> int:
    """Restore what `save_state` wrote into ``nets`` and ``optimiser``; returns the iteration.

    Raises:
        CheckpointError: the file is damaged, or is the state of another network.
    """
    advice = "give the run another folder, or delete the file to start again"
    try:
        with safe_open(path, framework="pt") as file:
            iteration = int(file.metadata()["iteration"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a training state ({error}); {advice}") from error
    for name, net in nets.items():
        prefix = f"{name}/"
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
        differ = sorted(shapes.items() ^ {key: t.shape for key, t in own.items()}.items())
        if differ:
            raise CheckpointError(
                f"{path}: the state of another network, {differ[0][0]} differs; {advice}"
            )
        net.load_state_dict(own)
    buffers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            buffers.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": buffers})
    return iteration
