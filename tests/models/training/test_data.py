"""The stream of training batches: repeatable item by item, and loud when its worker fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from br2focus.models.checkpoint import InputScale
from br2focus.models.evaluation.masks import MaskedFolder, Sample
from br2focus.models.training import data
from br2focus.models.training.augment import AugmentConfig
from br2focus.models.training.data import Batch, TrainingSet, batches, normalise

CONFIG = AugmentConfig(crop=32, rotation=5.0)


@pytest.fixture
def folder(root: Path) -> MaskedFolder:
    return MaskedFolder(root / "images", root / "masks", "blurred", ignore=128)


def training_set(folder: MaskedFolder, seed: int = 0) -> TrainingSet:
    return TrainingSet(folder, folder.pairs(), CONFIG, InputScale(), seed)


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_item_depends_on_seed_and_index_alone(folder: MaskedFolder) -> None:
    one, other = training_set(folder), training_set(folder)
    forward = {index: one[index] for index in range(25)}
    np.random.default_rng().random(3)
    torch.rand(3)
    for index in reversed(range(25)):
        assert equal(forward[index], other[index]), index
    assert not equal(forward[0], training_set(folder, seed=1)[0])


def test_every_epoch_shows_every_picture_in_another_order(
    folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "augment", lambda sample, config, rng: sample)
    items, count = training_set(folder), len(folder.pairs())
    epochs = [
        [round(float(items[epoch * count + i].image.double().sum()), 3) for i in range(count)]
        for epoch in range(3)
    ]
    assert len(set(epochs[0])) == count
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_one_picture_is_changed_differently_every_time(folder: MaskedFolder) -> None:
    items = TrainingSet(folder, folder.pairs()[:1], CONFIG, InputScale(), 0)
    assert not equal(items[0], items[1])


def test_shapes_and_values(folder: MaskedFolder) -> None:
    batch = next(batches(training_set(folder), 3, 0, 1))
    assert batch.image.shape == (3, 3, 32, 32) and batch.image.dtype == torch.float32
    for label in (batch.mask, batch.valid):
        assert label.shape == (3, 1, 32, 32)
        assert set(label.unique().tolist()) <= {0.0, 1.0}


def test_a_later_start_gives_the_same_batches(folder: MaskedFolder) -> None:
    items = training_set(folder)
    whole, late = list(batches(items, 2, 0, 6)), list(batches(items, 2, 4, 6))
    assert len(whole) == 6 and len(late) == 2
    assert all(equal(a, b) for a, b in zip(whole[4:], late, strict=True))
    assert not list(batches(items, 2, 6, 6))


def test_normalise_is_rgb_at_the_network_s_scale() -> None:
    pixel = np.array([[[255, 51, 0]]], np.uint8)  # blue, green, red
    out = normalise(pixel, InputScale((0.5, 0.2, 0.0), (0.5, 0.1, 2.0)))
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 0.0, 0.5]))


def fail(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    raise ValueError("this picture cannot be cropped")


def die(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_failing_worker_raises_its_error(
    folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "augment", fail)
    with pytest.raises(ValueError, match="this picture cannot be cropped"):
        next(batches(training_set(folder), 2, 0, 4))


def test_a_killed_worker_does_not_hang(
    folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "augment", die)
    with pytest.raises(RuntimeError, match="worker"):
        next(batches(training_set(folder), 2, 0, 4))
