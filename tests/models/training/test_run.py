"""The training loop: its schedule, its average, and going on exactly after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.errors import CheckpointError
from br2focus.models.training.config import OptimiserConfig, TrainingConfig, read_config
from br2focus.models.training.data import Batch, Share, stacked
from br2focus.models.training.run import Event, Trainer, learning_rate, make_optimiser, read_log
from br2focus.models.training.validate import predict

# The schedule and the optimiser.


def test_schedules() -> None:
    poly = OptimiserConfig(kind="sgd", schedule="poly", warmup=0)
    cosine = OptimiserConfig(warmup=10)
    assert learning_rate(poly, 0, 100) == 1
    assert learning_rate(poly, 50, 100) == pytest.approx(0.5**0.9)
    assert 0 < learning_rate(poly, 99, 100) < 0.02
    assert [learning_rate(cosine, i, 100) for i in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate(cosine, 50, 100) == pytest.approx(0.5)
    falling = [learning_rate(cosine, i, 100) for i in range(10, 100)]
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.001


def test_groups_of_the_paper(config: TrainingConfig) -> None:
    net = BR2Net(config.network)
    sgd = OptimiserConfig(
        kind="sgd", lr=1e-3, backbone_lr=1e-4, bias_lr=2.0, decay=5e-4, schedule="poly", warmup=0
    )
    optimiser = make_optimiser(net, sgd)
    assert isinstance(optimiser, torch.optim.SGD)
    found = {id(p): g for g in optimiser.param_groups for p in g["params"]}
    assert len(found) == sum(len(g["params"]) for g in optimiser.param_groups)
    for name, parameter in net.named_parameters():
        group = found.pop(id(parameter))
        rate = 1e-4 if name.startswith("backbone.") else 1e-3
        bias, vector = name.endswith("bias"), parameter.ndim == 1
        assert group["lr"] == pytest.approx(2 * rate if bias else rate), name
        assert group["weight_decay"] == (0.0 if vector else 5e-4), name
        assert group["momentum"] == 0.9
    assert not found


# Whole runs.

CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from br2focus.models.training.config import read_config
from br2focus.models.training.run import Trainer

torch.set_num_threads(1)
config, root, out, fatal = *map(Path, sys.argv[1:4]), int(sys.argv[4])

def report(event):
    if event["iteration"] == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

Trainer(read_config(config), root, out).run(report)
"""


def finish(trainer: Trainer, events: list[Event] | None = None) -> Path:
    path = trainer.run((events if events is not None else []).append)
    assert path is not None
    return path


def run_and_kill(config_path: Path, root: Path, out: Path, iteration: int) -> None:
    """Train in a process of its own that gets SIGKILL after ``iteration``; the limit only ends a hang."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    arguments = [str(p) for p in (config_path, root, out, iteration)]
    # Pipes would stay open in the data worker, which outlives the killed process by seconds.
    with (out.parent / "errors.txt").open("w+") as errors:
        command = [sys.executable, "-c", CHILD, *arguments]
        done = subprocess.run(command, env=environment, stderr=errors, check=False, timeout=900)
        errors.seek(0)
        assert done.returncode == -signal.SIGKILL, errors.read()


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    config_path: Path, root: Path, tmp_path: Path
) -> None:
    config = read_config(config_path)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finished = finish(Trainer(config, root, undisturbed))
    run_and_kill(config_path, root, killed, 6)
    assert len((killed / "log.jsonl").read_text().splitlines()) == 6
    assert not (killed / "tiny.safetensors").exists()

    trainer = Trainer(config, root, killed)
    assert trainer.iteration == 4, "the state saved before the kill"
    events: list[Event] = []
    resumed = finish(trainer, events)
    assert [event["iteration"] for event in events] == list(range(5, 13))
    assert list(read_log(killed / "log.jsonl")) == list(read_log(undisturbed / "log.jsonl"))
    assert resumed.read_bytes() == finished.read_bytes()

    again = Trainer(config, root, killed)
    assert again.iteration == 12
    assert finish(again, events).read_bytes() == finished.read_bytes()
    assert len(events) == 8, "a finished run has nothing left to do"

    logged = list(read_log(undisturbed / "log.jsonl"))
    assert [e["iteration"] for e in logged if "validation" in e] == [6, 12]
    assert 0 <= logged[-1]["validation"]["mae"] <= 1
    check_finished_model(finished, config)


def check_finished_model(path: Path, config: TrainingConfig) -> None:
    net, info = checkpoint.load(path)
    assert (info.name, info.config, info.size) == ("tiny", config.network, 64)
    blur = predict(net, np.zeros((50, 80, 3), np.uint8), info)
    assert blur.shape == (50, 80) and blur.dtype == np.float32
    assert 0 <= blur.min() <= blur.max() <= 1


def test_sgd_with_poly_stops_and_resumes(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    sgd = OptimiserConfig(kind="sgd", lr=0.01, backbone_lr=0.005, schedule="poly", warmup=0)
    config = replace(config, optimiser=sgd, iterations=6, save_every=3, ema=0.0)
    config = replace(config, data=replace(config.data, validation=0))
    whole = Trainer(config, root, tmp_path / "whole")
    whole.run()
    rates = sorted({group["lr"] for group in whole.optimiser.param_groups})
    factor = (1 - 5 / 6) ** 0.9
    assert rates == pytest.approx([0.005 * factor, 0.01 * factor])

    stopped = Trainer(config, root, tmp_path / "part")
    assert stopped.run(lambda event: event["iteration"] == 4) is None
    assert not (tmp_path / "part/tiny.safetensors").exists()
    resumed = Trainer(config, root, tmp_path / "part")
    assert resumed.iteration == 4, "stopping saves the state"
    finish(resumed)
    logs = [list(read_log(tmp_path / name / "log.jsonl")) for name in ("whole", "part")]
    assert logs[0] == logs[1] and len(logs[0]) == 6


def trainer_of(config: TrainingConfig, root: Path, out: Path) -> Trainer:
    return Trainer(replace(config, data=replace(config.data, validation=0)), root, out)


def one_batch(trainer: Trainer) -> Batch:
    return stacked([trainer.data[i] for i in range(2)])


def test_one_batch_can_be_learned(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    optimiser = replace(config.optimiser, lr=5e-3, backbone_lr=1e-3)
    trainer = trainer_of(replace(config, optimiser=optimiser, iterations=60), root, tmp_path)
    batch = one_batch(trainer)
    losses = []
    for trainer.iteration in range(25):
        losses.append(trainer.step(batch))
    assert losses[0] > 0.8 * 11 * np.log(2)
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def state_of(net: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in net.state_dict().items()}


@pytest.mark.parametrize(("ema", "iteration", "decay"), [(0.5, 90, 0.5), (0.999, 0, 0.1), (0.0, 5, 0.0)])
def test_the_average_follows(
    config: TrainingConfig, root: Path, tmp_path: Path, ema: float, iteration: int, decay: float
) -> None:
    trainer = trainer_of(replace(config, ema=ema, iterations=1000), root, tmp_path)
    trainer.iteration = iteration
    before = state_of(trainer.average)
    trainer.step(one_batch(trainer))
    now, moved = state_of(trainer.net), 0
    for key, average in trainer.average.state_dict().items():
        if key.endswith("num_batches_tracked"):
            assert average == now[key] == 1
        else:
            torch.testing.assert_close(average, decay * before[key] + (1 - decay) * now[key])
            moved += not torch.equal(before[key], now[key])
    assert moved > 100
    assert not trainer.average.training and trainer.net.training
    assert not any(p.requires_grad for p in trainer.average.parameters())


def test_a_loss_that_is_not_finite_stops_the_run_and_changes_no_weight(
    config: TrainingConfig, root: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(config, root, tmp_path)
    batch = one_batch(trainer)
    weights = [p.detach().clone() for p in trainer.net.parameters()]
    with pytest.raises(FloatingPointError, match="the loss is nan at iteration 1"):
        trainer.step(batch._replace(image=batch.image * float("nan")))
    pairs = zip(weights, trainer.net.parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)


def test_clipping_bounds_the_step(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    sgd = OptimiserConfig(kind="sgd", lr=1.0, backbone_lr=1.0, decay=0, warmup=0, clip=0.01)
    trainer = trainer_of(replace(config, optimiser=sgd), root, tmp_path)
    before = [p.detach().clone() for p in trainer.net.parameters()]
    trainer.step(one_batch(trainer))
    pairs = zip(before, trainer.net.parameters(), strict=True)
    moved = [(old - new.detach()).norm() for old, new in pairs]
    assert float(torch.stack(moved).norm()) == pytest.approx(0.01, rel=0.01)


def test_the_state_of_another_configuration_is_refused(
    config: TrainingConfig, root: Path, tmp_path: Path
) -> None:
    data = replace(config.data, validation=0)
    config = replace(config, iterations=1, data=data)
    Trainer(config, root, tmp_path).run()
    wider = replace(config, network=replace(config.network, width=9))
    with pytest.raises(CheckpointError, match=r"other settings: network\.width was 8, is 9"):
        Trainer(wider, root, tmp_path)
    longer = replace(config, iterations=2)
    with pytest.raises(CheckpointError, match="other settings: iterations was 1, is 2"):
        Trainer(longer, root, tmp_path)
    renamed = replace(config, name="other", validate_every=3)
    assert Trainer(renamed, root, tmp_path).iteration == 1


def test_a_batch_that_cannot_be_divided_is_refused(
    config: TrainingConfig, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch = 2 cannot be divided among 3 processes"):
        Trainer(config, root, tmp_path, "cpu", Share(0, 3))


def test_a_start_is_loaded_and_calibrated(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    donor = BR2Net(config.network).backbone
    names = {f"features.{k.split('.', 2)[2]}": t for k, t in donor.state_dict().items()}
    save_file(names, tmp_path / "start.safetensors")
    config = replace(config, backbone_start=str(tmp_path / "start.safetensors"))
    trainer = trainer_of(config, root, tmp_path / "run")
    stem = trainer.net.backbone.stages[0][0]  # type: ignore[index]
    assert torch.equal(stem[0].weight, donor.stages[0][0][0].weight)  # type: ignore[index]
    assert stem[1].running_mean.abs().max() > 1e-3, "statistics are those of the pictures"
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(trainer.average.backbone(x), donor.eval()(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_an_iteration_that_was_run_twice_counts_once(tmp_path: Path) -> None:
    events = [{"iteration": i, "loss": loss} for i, loss in ((1, 9.0), (2, 8.0), (2, 7.0), (3, 6.0))]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert [event["loss"] for event in read_log(path)] == [9.0, 7.0, 6.0]


# The start from a trained network.


def test_a_trained_network_goes_on_uncalibrated(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    torch.manual_seed(8)
    donor = BR2Net(config.network).half().float()
    info = ModelInfo("donor", config.network, config.scale)
    checkpoint.save(donor, info, tmp_path / "donor.safetensors")
    config = replace(config, start=str(tmp_path / "donor.safetensors"), backbone_start="nowhere")
    trainer = trainer_of(config, root, tmp_path / "run")
    for net in (trainer.net, trainer.average):
        state = net.state_dict()
        assert all(torch.equal(state[k], t) for k, t in donor.state_dict().items())
    trainer.step(one_batch(trainer))
    assert trainer.net.training
    weight = donor.l2h_start.weight
    assert not torch.equal(trainer.net.l2h_start.weight, weight), "it is trained"


def test_the_result_may_keep_a_share_of_the_start(config: TrainingConfig, root: Path, tmp_path: Path) -> None:
    donor = BR2Net(config.network).half().float()
    info = ModelInfo("donor", config.network, config.scale)
    checkpoint.save(donor, info, tmp_path / "donor.safetensors")
    start, data = str(tmp_path / "donor.safetensors"), replace(config.data, validation=0)
    config = replace(config, start=start, iterations=2, data=data)
    ends = {}
    for keep in (0.0, 0.25):  # the run is over the first time: the second only writes its result
        path = Trainer(replace(config, keep=keep), root, tmp_path / "run").run()
        assert path is not None
        ends[keep] = checkpoint.load(path)[0].state_dict()
    for key, before in donor.state_dict().items():
        if before.is_floating_point():
            mixed = 0.75 * ends[0.0][key] + 0.25 * before
            torch.testing.assert_close(ends[0.25][key], mixed, rtol=2e-3, atol=2e-3)
    key = "l2h_start.weight"
    assert not torch.equal(ends[0.25][key], ends[0.0][key])


def test_nothing_can_be_kept_without_a_start(config: TrainingConfig) -> None:
    with pytest.raises(ValueError, match="keep is a share of the weights of start"):
        replace(config, keep=0.5)
