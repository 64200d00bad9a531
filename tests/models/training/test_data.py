"""The stream of training batches: repeatable item by item, and loud when its worker fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from br2focus.models.config import InputScale
from br2focus.models.evaluation.masks import MaskedFolder, Sample
from br2focus.models.rendering.optics import BLURRED, IGNORED, IN_FOCUS
from br2focus.models.rendering.scenes import Scene, SceneMix, Scenes
from br2focus.models.training import data
from br2focus.models.training.augment import AugmentConfig
from br2focus.models.training.data import Batch, Material, Share, TrainingSet, batches, normalise

CONFIG = AugmentConfig(crop=32, rotation=5.0)


@pytest.fixture
def folder(root: Path) -> MaskedFolder:
    return MaskedFolder(root / "images", root / "masks", "blurred", ignore=128)


def training_set(folder: MaskedFolder, seed: int = 0) -> TrainingSet:
    samples = [folder.read(pair) for pair in folder.pairs()]
    return TrainingSet(Material(samples), CONFIG, InputScale(), seed)


def equal(one: Batch, other: Batch) -> bool:
    fields = [name for name in Batch._fields if name != "frames"]
    return all(
        torch.equal(*(torch.nan_to_num(getattr(each, name), nan=-1.0) for each in (one, other)))
        for name in fields
    ) and all(torch.equal(a, b) for a, b in zip(one.frames, other.frames, strict=True))


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
    items = training_set(folder)
    items = TrainingSet(Material(items.material.samples[:1]), CONFIG, InputScale(), 0)
    assert not equal(items[0], items[1])


def test_shapes_and_values(folder: MaskedFolder) -> None:
    batch = next(batches(training_set(folder), 3, 0, 1))
    assert batch.image.shape == (3, 3, 32, 32) and batch.image.dtype == torch.float32
    for label in (batch.mask, batch.valid):
        assert label.shape == (3, 1, 32, 32)
        assert set(label.flatten().tolist()) <= {0.0, 1.0}


def test_a_later_start_gives_the_same_batches(folder: MaskedFolder) -> None:
    items = training_set(folder)
    whole, late = list(batches(items, 2, 0, 6)), list(batches(items, 2, 4, 6))
    assert len(whole) == 6 and len(late) == 2
    assert all(equal(a, b) for a, b in zip(whole[4:], late, strict=True))
    assert not list(batches(items, 2, 6, 6))


def test_several_processes_see_the_batches_of_one(folder: MaskedFolder) -> None:
    items = training_set(folder)
    whole = list(batches(items, 6, 1, 4))
    for count in (2, 3):
        parts = zip(*(batches(items, 6, 1, 4, Share(r, count)) for r in range(count)), strict=True)
        joined = [
            Batch(
                **{
                    name: sum((p.frames for p in part), ())
                    if name == "frames"
                    else torch.cat([getattr(p, name) for p in part])
                    for name in Batch._fields
                }
            )
            for part in parts
        ]
        assert len(joined) == 3 and all(map(equal, joined, whole))


# Further pairs and rendered scenes.

KINDS = {
    "primary": 0,
    "one": 50,
    "other": 100,
    "scene": 150,
}  # the gray value says where it is from


def flat(gray: int) -> Sample:
    yes = np.ones((2, 2), np.bool_)
    return Sample(np.full((2, 2, 3), gray, np.uint8), yes, yes)


class FlatScenes:
    def render(self, rng: np.random.Generator) -> Scene:
        image = np.full((2, 2, 3), KINDS["scene"] + int(rng.integers(20)), np.uint8)
        label = np.array([[IN_FOCUS, BLURRED], [BLURRED, IGNORED]], np.uint8)
        return Scene(image, label, np.zeros((2, 2), np.float32))


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> TrainingSet:
    """Twenty flat pictures mixed with others: a share of .3, one of .1, and scenes with .2."""
    monkeypatch.setattr(data, "augment", lambda sample, config, rng: sample)
    monkeypatch.setattr(data, "develop", lambda sample, config, rng: sample)
    material = Material(
        [flat(i) for i in range(20)],
        [(0.3, [flat(50 + i) for i in range(10)]), (0.1, [flat(100 + i) for i in range(10)])],
        (0.2, FlatScenes()),  # type: ignore[arg-type]
    )
    return TrainingSet(material, CONFIG, InputScale((0, 0, 0), (1, 1, 1)), seed=7)


def gray(batch: Batch) -> int:
    return round(float(batch.image.mean() * 255))


def kind(value: int) -> str:
    return max((name for name in KINDS if KINDS[name] <= value), key=KINDS.__getitem__)


def test_the_shares_come_out(mixed: TrainingSet) -> None:
    values = [gray(mixed[index]) for index in range(4000)]
    found = {name: np.mean([kind(value) == name for value in values]) for name in KINDS}
    wanted = {"primary": 0.4, "one": 0.3, "other": 0.1, "scene": 0.2}
    for name, share in wanted.items():
        assert found[name] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))
    assert len(set(values)) == 20 + 10 + 10 + 20, "every picture of every source"


def test_mixing_keeps_the_order_of_the_primary_pictures(mixed: TrainingSet) -> None:
    alone = TrainingSet(Material(mixed.material.samples), CONFIG, mixed.scale, mixed.seed)
    kept = [i for i in range(300) if kind(gray(mixed[i])) == "primary"]
    assert 80 < len(kept) < 160
    assert [gray(mixed[i]) for i in kept] == [gray(alone[i]) for i in kept]


def test_labels_of_a_scene(mixed: TrainingSet) -> None:
    index = next(i for i in range(100) if kind(gray(mixed[i])) == "scene")
    assert mixed[index].mask[0].tolist() == [[0, 1], [1, 0]]
    assert mixed[index].valid[0].tolist() == [[1, 1], [1, 0]]


def test_a_scene_as_small_as_the_network_s_input_brings_its_own_pixels() -> None:
    scenes = Material([flat(0)], [], (1.0, FlatScenes()))  # type: ignore[arg-type]
    item = TrainingSet(scenes, CONFIG, InputScale((0, 0, 0), (1, 1, 1)), seed=7, long_side=96)[0]
    assert item.frames[0].shape == (1, 2, 2) and float(item.width) == 96
    assert float(item.frames[0].float().mean()) == pytest.approx(gray(item), abs=1)


def test_a_mixed_item_depends_on_seed_and_index_alone(folder: MaskedFolder) -> None:
    samples = [folder.read(pair) for pair in folder.pairs()]
    photos = [s.image for s in samples[:3]]
    mattes = [(s.image, np.where(s.mask, 255, 0).astype(np.uint8)) for s in samples[3:5]]

    def make(seed: int = 0) -> TrainingSet:
        scenes = Scenes(photos, mattes, 32, SceneMix())
        material = Material(samples[5:], [(0.3, samples[:5])], (0.4, scenes))
        return TrainingSet(material, CONFIG, InputScale(), seed)

    one, other = make(), make()
    forward = {index: one[index] for index in range(40)}
    torch.rand(3)
    for index in reversed(range(40)):
        assert equal(forward[index], other[index]), index
        assert forward[index].image.shape == (3, 32, 32)
    assert not equal(forward[0], make(seed=1)[0])


def test_normalise_is_rgb_at_the_network_s_scale() -> None:
    pixel = np.array([[[255, 51, 0]]], np.uint8)  # blue, green, red
    out = normalise(pixel, InputScale((0.5, 0.2, 0.0), (0.5, 0.1, 2.0)))
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 0.0, 0.5]))


def fail(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    raise ValueError("this picture cannot be cropped")


def die(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_failing_worker_raises_its_error(folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "augment", fail)
    with pytest.raises(ValueError, match="this picture cannot be cropped"):
        next(batches(training_set(folder), 2, 0, 4))


def test_a_signal_to_the_group_does_not_reach_the_worker(
    folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reveal(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
        yes = np.ones((1, 1), np.bool_)
        pixel = [[[os.getpgrp() == os.getpid(), 0, 0]]]
        return Sample(np.array(pixel, np.uint8) * 255, yes, yes)

    monkeypatch.setattr(data, "augment", reveal)
    items = TrainingSet(training_set(folder).material, CONFIG, InputScale((0, 0, 0), (1, 1, 1)), 0)
    assert float(next(batches(items, 1, 0, 1)).image.max()) == 1


def test_a_killed_worker_does_not_hang(folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "augment", die)
    with pytest.raises(RuntimeError, match="worker"):
        next(batches(training_set(folder), 2, 0, 4))
