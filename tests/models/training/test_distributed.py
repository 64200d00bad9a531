"""Two processes of torchrun: the same crops, losses and weights as one, and one end for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from br2focus.models.training.config import LossConfig, OptimiserConfig, TrainingConfig, read_config
from br2focus.models.training.data import Share
from br2focus.models.training.distributed import from_first, joined, mean_over_processes
from br2focus.models.training.run import Trainer

LIMIT = 600  # seconds; only ends a hang


@contextmanager
def torchrun(arguments: list[object], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes of ``arguments``; stdout and stderr are files of ``folder``."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([p for p in sys.path if p])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        command = [sys.executable, *launcher, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, text=True)
        try:
            yield process
        finally:
            process.terminate()  # it ends its children, which a kill would leave behind
            process.wait(LIMIT)


def finished(arguments: list[object], folder: Path) -> None:
    with torchrun(arguments, folder) as process:
        code = process.wait(LIMIT)
    assert code == 0, (folder / "err.txt").read_text()


# Alone.


def test_without_torchrun_a_process_is_alone() -> None:
    with joined("cuda:3") as place:
        assert place == (Share(0, 1), "cuda:3")
    value = torch.tensor([2.5])
    assert mean_over_processes(value) is value
    assert from_first(3, torch.device("cpu")) == 3


# Gradients.


def exact(config: TrainingConfig) -> TrainingConfig:
    """Every loss, uneven labels, and an optimiser that does not enlarge rounding errors."""
    sgd = OptimiserConfig(kind="sgd", lr=0.02, backbone_lr=0.02, warmup=0, clip=2.0)
    return replace(
        config,
        batch=4,
        iterations=3,
        bf16=False,
        optimiser=sgd,
        loss=LossConfig(iou=0.5, edge=0.5),
        augment=replace(config.augment, rotation=40.0),
        data=replace(config.data, validation=0),
    )


def freeze_norms(net: nn.Module) -> None:
    """Keep the norms in evaluation mode: their statistics alone differ between the processes."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]


def train(config: TrainingConfig, root: Path, out: Path, share: Share) -> tuple[list[float], Trainer]:
    trainer = Trainer(config, root, out, "cpu", share)
    freeze_norms(trainer.net)
    losses = []
    true_step = trainer.step

    def step(batch: Any) -> float:
        losses.append(true_step(batch))
        return losses[-1]

    trainer.step = step  # type: ignore[method-assign]
    trainer.run()
    return losses, trainer


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {key: p.detach().contiguous() for key, p in trainer.net.named_parameters()}


CHILD = """
import sys, json
from pathlib import Path
import torch
from safetensors.torch import save_file
sys.path.insert(0, sys.argv[1])
from test_distributed import Trainer, exact, joined, parameters, read_config, replace, train

torch.set_num_threads(1)
path, root, out = map(Path, sys.argv[2:])
config = exact(read_config(path))
with joined("cpu") as (share, device):
    assert device == "cpu" and share.processes == 2
    losses, trainer = train(config, root, out / "frozen", share)
    (out / f"losses{share.rank}.json").write_text(json.dumps(losses))
    save_file(parameters(trainer), out / f"frozen{share.rank}.safetensors")
    usual = Trainer(replace(config, iterations=2), root, out / "usual", "cpu", share)
    path = usual.run()
    assert (path is None) == (share.rank > 0)
    save_file(parameters(usual), out / f"usual{share.rank}.safetensors")
assert not torch.distributed.is_initialized()
"""


def test_two_processes_train_like_one(config_path: Path, root: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    finished([child, Path(__file__).parent, config_path, root, tmp_path], tmp_path)
    both = [json.loads((tmp_path / f"losses{rank}.json").read_text()) for rank in (0, 1)]
    for mode in ("frozen", "usual"):
        one, other = (load_file(tmp_path / f"{mode}{rank}.safetensors") for rank in (0, 1))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), f"{mode}: ranks differ"

    config = exact(read_config(config_path))
    fresh = Trainer(config, root, tmp_path / "fresh").net.state_dict()
    losses, trainer = train(config, root, tmp_path / "alone", Share())
    assert both[0] == both[1] and both[0] == pytest.approx(losses, rel=1e-5)
    frozen = load_file(tmp_path / "frozen0.safetensors")
    for key, tensor in parameters(trainer).items():
        moved = (tensor - fresh[key]).abs().max()
        error = (tensor - frozen[key]).abs().max()
        assert float(error) <= 1e-3 * float(moved) + 1e-7, key
    assert sum(not torch.equal(t, fresh[k]) for k, t in parameters(trainer).items()) > 100


# The command.


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for(log: Path, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT
    while lines(log) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert lines(log) >= count


def test_ctrl_c_stops_both_and_the_run_goes_on(config_path: Path, root: Path, tmp_path: Path) -> None:
    text = config_path.read_text().replace("batch = 2", "batch = 4")
    config_path.write_text(text.replace("save_every = 4", "save_every = 1000"))
    out, log = tmp_path / "run", tmp_path / "run/log.jsonl"
    command: list[object] = ["-m", "br2focus.plugins.cli", "train", config_path, "--json"]
    command += ["--data", root, "--out", out, "--device", "cpu"]
    with torchrun(command, tmp_path) as process:
        wait_for(log, 2, process)
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
    errors = (tmp_path / "err.txt").read_text()
    assert errors.count("br2focus: ") == 1 and "what is done stays" in errors
    assert "forcefully" not in errors and "Traceback" not in errors.partition("br2focus: ")[0]
    with safe_open(out / "state.safetensors", framework="pt") as file:
        done = int(file.metadata()["iteration"])
    assert 2 <= done < 12 and done == lines(log), "the state is the one of the stop"
    assert (tmp_path / "out.txt").read_text() == ""
    assert not (out / "tiny.safetensors").exists()

    finished(command, tmp_path)
    assert json.loads((tmp_path / "out.txt").read_text())["iterations"] == 12
    assert lines(log) == 12, "one process writes the log, and goes on behind the stop"
    assert sorted(p.name for p in out.iterdir()) == [
        "log.jsonl",
        "loss.png",
        "state.safetensors",
        "tiny.safetensors",
    ]
