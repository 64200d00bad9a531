"""The state of a training run on disk: everything needed to resume the run exactly.

It is written as safetensors (never pickle): the network, its moving average and the optimiser's buffers; the
metadata holds the iteration and the settings of the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from br2focus.models.checkpoint import write_tensors
from br2focus.models.errors import CheckpointError

ADVICE = "give the run another folder, or delete the file to start again"


def save_state(
    path: Path,
    iteration: int,
    nets: dict[str, nn.Module],
    optimiser: Optimizer,
    settings: Mapping[str, Any],
) -> None:
    """Write the state after ``iteration`` iterations; it replaces an older file only when it is complete.

    Args:
        path: the file.
        iteration: number of finished iterations.
        nets: every network whose weights belong to the state.
        optimiser: its buffers belong to the state.
        settings: what the run depends on, as JSON values; `load_state` compares them.

    Raises:
        OSError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, net in nets.items():
        tensors |= {f"{name}/{key}": t.detach().clone() for key, t in net.state_dict().items()}
    for index, buffers in optimiser.state_dict()["state"].items():
        for key, value in buffers.items():
            if value is not None:
                tensors[f"optimiser/{index}/{key}"] = torch.as_tensor(value).clone()
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    metadata = {"iteration": str(iteration), "settings": json.dumps(settings, sort_keys=True)}
    write_tensors(tensors, path, metadata)


def load_state(
    path: Path, nets: dict[str, nn.Module], optimiser: Optimizer, settings: Mapping[str, Any]
) -> int:
    """Restore what `save_state` wrote into ``nets`` and ``optimiser``; return the iteration.

    Raises:
        CheckpointError: the file is damaged, or is the state of another network or of a run with other
            settings.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            iteration = int(metadata["iteration"])
            before = json.loads(metadata["settings"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a training state ({error}); {ADVICE}") from error
    _require_same(path, before, json.loads(json.dumps(settings)))
    for name, net in nets.items():
        prefix = f"{name}/"
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
        differ = sorted(shapes.items() ^ {key: t.shape for key, t in own.items()}.items())
        if differ:
            raise CheckpointError(f"{path}: the state of another network, {differ[0][0]} differs; {ADVICE}")
        net.load_state_dict(own)
    buffers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            buffers.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": buffers})
    return iteration


def _require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differ = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    if differ:
        changes = ", ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in differ[:3])
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise CheckpointError(f"{path}: a run with other settings: {changes}{more}; {ADVICE}")
