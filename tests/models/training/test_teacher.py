"""Distillation: a trained network's P, and the target that it is mixed into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from br2focus.models import checkpoint
from br2focus.models.br2net import Maps
from br2focus.models.config import InputScale
from br2focus.models.errors import CheckpointError
from br2focus.models.training import run
from br2focus.models.training.config import LossConfig, TrainingConfig
from br2focus.models.training.data import stacked
from br2focus.models.training.losses import total_loss
from br2focus.models.training.run import Trainer
from br2focus.models.training.teacher import Teacher

CPU = torch.device("cpu")


def test_it_is_the_network_s_probability(model: str) -> None:
    torch.manual_seed(2)
    image = torch.randn(2, 3, 64, 64)
    p = Teacher(model, InputScale(), CPU)(image)
    net, _ = checkpoint.load(Path(model))
    with torch.no_grad():
        torch.testing.assert_close(p, torch.sigmoid(net(image).fused), rtol=1e-4, atol=1e-5)
    assert p.shape == (2, 1, 64, 64) and p.dtype == torch.float32 and not p.requires_grad


def test_a_gain_makes_it_surer(model: str) -> None:
    image = torch.randn(1, 3, 64, 64)
    plain, sure = (Teacher(model, InputScale(), CPU, gain)(image) for gain in (1.0, 3.0))
    torch.testing.assert_close(torch.logit(sure), 3 * torch.logit(plain), rtol=1e-3, atol=1e-3)


def test_another_scale_is_refused(model: str) -> None:
    other = InputScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"teacher = .*random\.safetensors' has another input scale"):
        Teacher(model, other, CPU)


def test_a_missing_one_is_named() -> None:
    with pytest.raises(CheckpointError, match="no model 'professor'"):
        Teacher("professor", InputScale(), CPU)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_its_share_of_the_target(
    config: TrainingConfig,
    root: Path,
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
) -> None:
    config = replace(config, bf16=False, loss=LossConfig(teacher=model, distil=share))
    trainer = Trainer(config, root, tmp_path / "run")
    batch = stacked([trainer.data[i] for i in (0, 1)])
    seen: list[Tensor] = []

    def spy(config: LossConfig, maps: Maps, target: Tensor, valid: Tensor) -> Tensor:
        seen.append(target)
        assert torch.equal(valid, batch.valid)
        return total_loss(config, maps, target, valid)

    monkeypatch.setattr(run, "total_loss", spy)
    trainer.step(batch)
    assert trainer.teacher is not None
    p = trainer.teacher(batch.image)
    torch.testing.assert_close(seen[0], (1 - share) * batch.mask + share * p, rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is None for parameter in trainer.teacher.net.parameters())
