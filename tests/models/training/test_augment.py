"""Random changes of a training pair: label and picture stay together, what has no picture has no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from br2focus.models.evaluation.masks import Sample
from br2focus.models.training.augment import AugmentConfig, augment, develop

PLAIN = AugmentConfig(crop=48, scale=(1.0, 1.0), rotation=0.0, colour=0.0, noise=0.0, jpeg=100)
SEEDS = range(24)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def labelled_by_colour(height: int = 90, width: int = 130) -> Sample:
    """Bright rectangles on a dark ground; bright is labelled blurred."""
    mask = np.zeros((height, width), np.bool_)
    for top, left, bottom, right in rng(0).integers(0, (60, 90, 30, 40), (6, 4)):
        mask[top : top + 12 + bottom, left : left + 12 + right] ^= True
    image = np.where(mask[:, :, None], np.uint8(220), np.uint8(30)).repeat(3, 2)
    return Sample(np.asarray(image, np.uint8), mask, np.ones_like(mask))


def coordinates(height: int = 90, width: int = 130) -> Sample:
    """Every pixel tells where it was: blue = x, green = y."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x, y, 0 * x], 2).astype(np.uint8)
    return Sample(image, rng(1).random((height, width)) < 0.5, rng(2).random((height, width)) < 0.9)


def agreement(sample: Sample) -> float:
    bright = sample.image.mean(2) > 125
    return float((bright == sample.mask)[sample.valid].mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_moves_pixels_and_labels_together(seed: int) -> None:
    before = coordinates()
    after = augment(before, PLAIN, rng(seed))
    x, y = after.image[:, :, 0].astype(int), after.image[:, :, 1].astype(int)
    assert after.image.shape == (48, 48, 3) and after.image.dtype == np.uint8
    assert np.array_equal(after.valid, before.valid[y, x])
    assert np.array_equal(after.mask[after.valid], before.mask[y, x][after.valid])
    steps = np.diff(x, axis=1)
    assert (steps == 1).all() or (steps == -1).all(), "a crop, perhaps mirrored, and nothing else"


def test_half_of_the_crops_are_mirrored_and_places_differ() -> None:
    crops = [augment(coordinates(), PLAIN, rng(seed)).image[:, :, 0].astype(int) for seed in range(60)]
    mirrored = sum(bool(x[0, 0] > x[0, -1]) for x in crops)
    assert 18 <= mirrored <= 42
    assert len({int(x.min()) for x in crops}) > 15


@pytest.mark.parametrize("scale", [(0.3, 1.0), (0.45, 0.45), (0.5, 0.7), (1.0, 2.0)])
def test_labels_follow_the_scale(scale: tuple[float, float]) -> None:
    config = replace(PLAIN, scale=scale, crop=32)
    found = [agreement(augment(labelled_by_colour(), config, rng(seed))) for seed in SEEDS]
    assert np.mean(found) > 0.99
    assert min(found) > 0.95


def test_labels_follow_the_rotation() -> None:
    config = replace(PLAIN, rotation=30.0)
    samples = [augment(labelled_by_colour(), config, rng(seed)) for seed in SEEDS]
    assert min(agreement(s) for s in samples) > 0.985
    assert any(not s.valid.all() for s in samples)


def test_rotation_corners_are_ignored_and_not_labelled() -> None:
    before = labelled_by_colour(48, 48)
    before = before._replace(mask=np.ones_like(before.mask))
    seen = 0
    for seed in SEEDS:
        after = augment(before, replace(PLAIN, rotation=20.0), rng(seed))
        assert not after.mask[~after.valid].any()
        assert after.mask[after.valid].all()
        assert after.valid[12:36, 12:36].all()
        seen += int((~after.valid[[0, 0, -1, -1], [0, -1, 0, -1]]).sum())
    assert seen > 2 * len(SEEDS), "rotated corners have no picture"


def test_around_a_picture_smaller_than_the_crop_nothing_is_labelled() -> None:
    before = labelled_by_colour(20, 30)
    after = augment(before, PLAIN, rng(0))
    assert int(after.valid.sum()) == 20 * 30
    assert agreement(after) == 1.0


def test_nothing_switched_on_changes_no_pixel() -> None:
    before = coordinates(48, 48)
    after = augment(before, PLAIN, rng(3))
    unflipped = after.image if after.image[0, 0, 0] == 0 else after.image[:, ::-1]
    assert np.array_equal(unflipped, before.image)


def test_noise_is_the_same_in_both_regions() -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[:, :100] = True
    flat = Sample(np.full((200, 200, 3), 128, np.uint8), mask, np.ones_like(mask))
    ratios = []
    for seed in SEEDS:
        after = augment(flat, replace(PLAIN, crop=200, noise=10.0), rng(seed))
        blurred, focused = after.image[after.mask].std(), after.image[~after.mask].std()
        if blurred > 1:
            ratios.append(blurred / focused)
    assert len(ratios) > 5
    assert np.allclose(ratios, 1, atol=0.05)


@pytest.mark.parametrize("switch", [{"colour": 0.3}, {"noise": 9.0}, {"jpeg": 30}])
def test_each_switch_changes_pixels_but_no_label(switch: dict[str, float]) -> None:
    config, before, changed = replace(PLAIN, **switch), labelled_by_colour(), 0  # type: ignore[arg-type]
    for seed in SEEDS:
        plain, after = augment(before, PLAIN, rng(seed)), augment(before, config, rng(seed))
        assert np.array_equal(plain.mask, after.mask) and np.array_equal(plain.valid, after.valid)
        changed += not np.array_equal(plain.image, after.image)
    assert changed >= 6


def test_the_same_generator_gives_the_same_crop() -> None:
    config = AugmentConfig(crop=40, rotation=8.0)
    one, other, third = (augment(labelled_by_colour(), config, rng(s)) for s in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one.image, third.image)


def test_developing_keeps_the_whole_picture() -> None:
    before, mirrored = coordinates(48, 60), 0
    for seed in SEEDS:
        plain = develop(before, PLAIN, rng(seed))
        flipped = not np.array_equal(plain.image, before.image)
        parts = [part[:, ::-1] for part in plain] if flipped else plain
        assert all(np.array_equal(a, b) for a, b in zip(parts, before, strict=True))
        mirrored += flipped
    assert 6 <= mirrored <= 18


def test_developing_changes_pixels_but_no_label() -> None:
    config, before = replace(PLAIN, colour=0.3, noise=9.0, jpeg=30), labelled_by_colour()
    for seed in SEEDS:
        plain, after = develop(before, PLAIN, rng(seed)), develop(before, config, rng(seed))
        assert np.array_equal(plain.mask, after.mask) and np.array_equal(plain.valid, after.valid)
        assert not np.array_equal(plain.image, after.image)
