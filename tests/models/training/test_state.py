"""The saved state of a run: exact, complete, and refused when it is another run's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from br2focus.models.errors import CheckpointError
from br2focus.models.training.state import load_state, save_state

OPTIMISERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "adamw": lambda net: AdamW(net.parameters(), lr=0.01),
    "sgd": lambda net: SGD(net.parameters(), lr=0.01, momentum=0.9),
}
SETTINGS: dict[str, Any] = {"batch": 8, "seed": 0, "lr": 1e-3, "scale": (0.4, 1.0), "start": None}


def make_net(width: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 1, 1))


def steps(net: nn.Module, optimiser: Optimizer, count: int, seed: int) -> list[float]:
    torch.manual_seed(seed)
    losses = []
    for _ in range(count):
        loss: Tensor = net(torch.randn(2, 3, 8, 8)).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_restored_run_goes_on_exactly(tmp_path: Path, kind: str) -> None:
    path, make = tmp_path / "state.safetensors", OPTIMISERS[kind]
    net = make_net()
    optimiser = make(net)
    steps(net, optimiser, 3, seed=1)
    save_state(path, 3, {"net": net}, optimiser, SETTINGS)
    expected = steps(net, optimiser, 4, seed=2)

    again = make_net(seed=9)
    restored = make(again)
    assert load_state(path, {"net": again}, restored, SETTINGS) == 3
    assert steps(again, restored, 4, seed=2) == expected


def test_several_networks_are_kept_apart(tmp_path: Path) -> None:
    path, nets = tmp_path / "s", {"net": make_net(seed=1), "average": make_net(seed=2)}
    save_state(path, 7, nets, SGD(nets["net"].parameters()), SETTINGS)
    others = {"net": make_net(seed=3), "average": make_net(seed=4)}
    load_state(path, others, SGD(others["net"].parameters()), SETTINGS)
    for name, net in nets.items():
        for key, tensor in net.state_dict().items():
            assert torch.equal(others[name].state_dict()[key], tensor)


def test_saving_replaces_at_once_and_leaves_one_file(tmp_path: Path) -> None:
    path, net = tmp_path / "state.safetensors", make_net()
    (tmp_path / "state.safetensors.partial").write_bytes(b"left by a kill")
    for iteration in (1, 2):
        save_state(path, iteration, {"net": net}, SGD(net.parameters()), SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert load_state(path, {"net": net}, SGD(net.parameters()), SETTINGS) == 2


@pytest.mark.parametrize("data", [b"", b"no state at all" * 9, b"\x10\0\0\0\0\0\0\0{}"])
def test_a_damaged_state_says_what_to_do(tmp_path: Path, data: bytes) -> None:
    path, net = tmp_path / "state.safetensors", make_net()
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not a training state .* delete the file"):
        load_state(path, {"net": net}, SGD(net.parameters()), SETTINGS)


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    path, net, other = tmp_path / "state.safetensors", make_net(), make_net(width=6)
    save_state(path, 1, {"net": net}, SGD(net.parameters()), SETTINGS)
    with pytest.raises(CheckpointError, match=r"another network, 0\.bias differs"):
        load_state(path, {"net": other}, SGD(other.parameters()), SETTINGS)


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"lr": 2e-3}, r"other settings: lr was 0\.001, is 0\.002; give the run another folder"),
    ({"start": "lite"}, "start was None, is 'lite';"),
    ({"scale": (0.5, 1.0)}, r"scale was \[0\.4, 1\.0\], is \[0\.5, 1\.0\];"),
    ({"mix": 1}, "mix was None, is 1;"),
    ({"batch": 1, "seed": 1, "lr": 1, "start": ""}, "batch was 8, .*lr was .*seed .* and 1 more;"),
]


@pytest.mark.parametrize(("change", "text"), CHANGES, ids=[str(c) for c, _ in CHANGES])
def test_the_state_of_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    path, net = tmp_path / "state.safetensors", make_net()
    save_state(path, 1, {"net": net}, SGD(net.parameters()), SETTINGS)
    again = make_net(seed=3)
    before = again.state_dict()["0.weight"].clone()
    with pytest.raises(CheckpointError, match=text) as raised:
        load_state(path, {"net": again}, SGD(again.parameters()), SETTINGS | change)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
    assert torch.equal(again.state_dict()["0.weight"], before), "nothing was loaded"
