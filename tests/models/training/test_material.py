"""What a run is made from: pairs held back, pairs left out and distrusted, photographs and cut-outs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.errors import CheckpointError
from br2focus.models.evaluation.masks import FolderError, Sample, UnreadableError
from br2focus.models.training import material
from br2focus.models.training.config import ExtraConfig, RenderedConfig, TrainingConfig, read_config
from br2focus.models.training.material import (
    agreeing,
    read_extra,
    read_material,
    read_scenes,
    split,
)
from br2focus.models.training.validate import predict

# What is held back.


def test_held_pairs_are_spread_and_disjoint(config: TrainingConfig, root: Path) -> None:
    _, train, held = split(config.data, root)
    assert [p.image.stem for p in held] == ["4", "9"]
    assert len(train) == 8 and not set(train) & set(held)
    assert split(config.data, root)[1:] == (train, held)
    assert split(replace(config.data, validation=0), root)[2] == []


@pytest.mark.parametrize("count", [10, 11])
def test_holding_back_everything_is_refused(config: TrainingConfig, root: Path, count: int) -> None:
    with pytest.raises(ValueError, match=f"validation = {count} of 10 pairs leaves none"):
        split(replace(config.data, validation=count), root)


# Further pairs.


@pytest.fixture
def extra(root: Path, tmp_path: Path) -> ExtraConfig:
    """The pairs of ``root`` once more, in the folder ``more`` of ``tmp_path``."""
    shutil.copytree(root, tmp_path / "more")
    images, masks = Path("more/images"), Path("more/masks")
    return ExtraConfig(images, masks, "focused", share=0.5, ignore=128)


def test_further_pairs_have_their_own_polarity(
    extra: ExtraConfig, config: TrainingConfig, root: Path, tmp_path: Path
) -> None:
    samples = read_extra(extra, tmp_path)
    folder, train, held = split(config.data, root)
    primary = [folder.read(pair) for pair in sorted(train + held)]
    assert len(samples) == 10
    for ours, theirs in zip(samples, primary, strict=True):
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(ours.valid, theirs.valid)
        assert np.array_equal(ours.mask[ours.valid], ~theirs.mask[ours.valid])


def test_listed_pairs_are_left_out(extra: ExtraConfig, tmp_path: Path) -> None:
    before = [s.image for s in read_extra(extra, tmp_path)]
    (tmp_path / "bad.txt").write_text("3 because it is a duplicate\n\n  7\t2\n99\n")
    after = [s.image for s in read_extra(replace(extra, leave_out=Path("bad.txt")), tmp_path)]
    kept = [image for index, image in enumerate(before) if index not in (3, 7)]
    assert len(after) == 8
    assert all(np.array_equal(a, b) for a, b in zip(after, kept, strict=True))


def test_a_list_chooses_pairs(extra: ExtraConfig, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("5\n2\n")
    extra = replace(extra, names=Path("some.txt"))
    assert len(read_extra(extra, tmp_path)) == 2
    (tmp_path / "bad.txt").write_text("2\n5\n")
    with pytest.raises(ValueError, match="more/images: no pair is left to train on"):
        read_extra(replace(extra, leave_out=Path("bad.txt")), tmp_path)


def test_a_pattern_chooses_pairs(extra: ExtraConfig, tmp_path: Path) -> None:
    every = read_extra(extra, tmp_path)
    (tmp_path / "bad.txt").write_text("3\n")
    some = read_extra(replace(extra, only="[2-4]", leave_out=Path("bad.txt")), tmp_path)
    assert [np.array_equal(s.image, every[i].image) for s, i in zip(some, (2, 4), strict=True)] == [
        True,
        True,
    ]
    with pytest.raises(ValueError, match="no pair is left"):
        read_extra(replace(extra, only="motion*"), tmp_path)


def test_a_missing_list_is_named(extra: ExtraConfig, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"cannot read the list .*bad\.txt"):
        read_extra(replace(extra, leave_out=Path("bad.txt")), tmp_path)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FolderError, match=r"cannot read the list .*bad\.txt"):
        read_extra(replace(extra, leave_out=Path("bad.txt")), tmp_path)


# Labels that a network contradicts.


def sample(height: int = 10, width: int = 12) -> Sample:
    """Left half blurred; the last row has no label; the first pixel names the picture."""
    mask = np.zeros((height, width), np.bool_)
    mask[:, : width // 2] = True
    valid = np.ones_like(mask)
    valid[-1] = False
    return Sample(np.zeros((height, width, 3), np.uint8), mask, valid)


def say(monkeypatch: pytest.MonkeyPatch, *maps: NDArray[np.float64]) -> None:
    """Let the network predict ``maps``, one after the other."""
    coming = iter(maps)
    monkeypatch.setattr(material, "predict", lambda net, image, info: next(coming))


def test_firm_contradictions_are_ignored_and_weak_ones_are_not(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, p = sample(), np.full((10, 12), 0.5)
    p[0, :] = 0.1  # blurred on the left: contradicted there
    p[1, :] = 0.9  # in focus on the right
    p[2, :], p[3, :] = 0.21, 0.79  # not firm
    p[-1, :] = 0.1  # without a label already
    say(monkeypatch, p)
    (after,) = agreeing([before], model)
    expected = before.valid.copy()
    expected[0, :6] = expected[1, 6:] = False
    assert np.array_equal(after.valid, expected)
    assert np.array_equal(after.mask, before.mask) and np.array_equal(after.image, before.image)
    assert before.valid[:-1].all(), "the pair itself is as it was"


def test_a_pair_contradicted_on_more_than_a_third_is_dropped(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [sample(), sample(), sample()]  # 9 x 12 = 108 labelled pixels: a third is 36
    right, third, more = (np.where(s.mask, 0.95, 0.05) for s in samples)
    third[:6, :6] = 0.0
    more[:6, :6] = more[6, 0] = 0.0
    more[-1] = third[-1] = right[-1] = np.where(samples[0].mask[-1], 0, 1)  # not labelled: no matter
    say(monkeypatch, right, third, more)
    kept = agreeing(samples, model)
    assert [int(s.valid.sum()) for s in kept] == [108, 72]


def test_the_network_really_looks(
    model: str, extra: ExtraConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def spy(*args: object) -> NDArray[np.float32]:
        shown.append(predict(*args))  # type: ignore[arg-type]
        return shown[-1]

    monkeypatch.setattr(material, "predict", spy)
    monkeypatch.setattr(material, "DISTRUSTED", 1.0)
    monkeypatch.setattr(material, "FIRM", 0.5)  # a random network is never firm
    before = read_extra(extra, tmp_path)
    after = read_extra(replace(extra, agree=model), tmp_path)
    assert len(shown) == len(after) == 10
    for one, other, p in zip(before, after, shown, strict=True):
        assert np.array_equal(other.valid, one.valid & ((p > 0.5) == one.mask))


def test_a_missing_network_is_named(extra: ExtraConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model 'nobody'"):
        read_extra(replace(extra, agree="nobody"), tmp_path)


# Rendered scenes.


@pytest.fixture
def rendered(root: Path, tmp_path: Path) -> RenderedConfig:
    """Two photographs, one of them large, and two cut-outs below ``tmp_path``; the list in ``lists``."""
    rng = np.random.default_rng(3)
    for name in ("sharp", "things/images", "things/masks", "lists"):
        (tmp_path / name).mkdir(parents=True)
    photo = rng.integers(0, 256, (90, 1000, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "sharp/large.png"), photo)
    cv2.imwrite(str(tmp_path / "sharp/small.png"), photo[:, :80])
    for name in ("a", "b"):
        coverage = np.zeros((50, 40), np.uint8)
        cv2.circle(coverage, (20, 25), 15, 255, -1, cv2.LINE_AA)
        cv2.imwrite(str(tmp_path / f"things/images/{name}.png"), photo[:50, :40])
        cv2.imwrite(str(tmp_path / f"things/masks/{name}.png"), coverage)
    (tmp_path / "lists/photos.txt").write_text("sharp/large.png\n\nsharp/small.png\n")
    return RenderedConfig(0.5, tmp_path / "lists/photos.txt", Path("things"))


def test_photographs_and_cut_outs_are_read(rendered: RenderedConfig, tmp_path: Path) -> None:
    scenes = read_scenes(rendered, tmp_path, 32)
    assert [photo.shape for photo in scenes.photos] == [(72, 800, 3), (90, 80, 3)]
    small = cv2.imread(str(tmp_path / "sharp/small.png"))
    assert small is not None and np.array_equal(scenes.photos[1], small)
    assert len(scenes.mattes) == 2
    picture, coverage = scenes.mattes[0]
    assert picture.shape == (50, 40, 3) and coverage.shape == (50, 40)
    assert len(np.unique(coverage)) > 2, "gray edges stay gray"
    scene = scenes.render(np.random.default_rng(0))
    assert scene.image.shape == (32, 32, 3) and scene.label.shape == (32, 32)
    assert read_scenes(replace(rendered, mattes=None), tmp_path, 32).mattes == []


def test_the_list_lies_beside_the_configuration(
    config_path: Path, rendered: RenderedConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config_path.read_text() + '[rendered]\nshare = 0.5\nphotos = "lists/photos.txt"\n'
    config_path.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = read_config(Path("..") / config_path.name).rendered
    assert found is not None
    assert found.photos.resolve() == rendered.photos
    assert len(read_scenes(found, tmp_path, 32).photos) == 2


def damage(rendered: RenderedConfig, tmp_path: Path, what: str) -> None:
    match what:
        case "no list":
            rendered.photos.unlink()
        case "empty list":
            rendered.photos.write_text("\n \n")
        case "no photograph":
            (tmp_path / "sharp/small.png").unlink()
        case "no picture":
            (tmp_path / "sharp/small.png").write_text("text")
        case "no mattes":
            shutil.rmtree(tmp_path / "things")
        case "another size":
            cv2.imwrite(str(tmp_path / "things/masks/b.png"), np.zeros((40, 50), np.uint8))


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("no list", FolderError, r"cannot read the list .*lists/photos\.txt"),
        ("empty list", FolderError, r"lists/photos\.txt lists no photograph"),
        ("no photograph", UnreadableError, r"sharp/small\.png: missing, or not a picture"),
        ("no picture", UnreadableError, r"sharp/small\.png: missing, or not a picture"),
        ("no mattes", FolderError, "no such folder: .*things/images"),
        ("another size", UnreadableError, r"masks/b\.png has another size than .*images/b\.png"),
    ],
)
def test_what_is_missing_is_named(
    rendered: RenderedConfig, tmp_path: Path, what: str, kind: type[Exception], text: str
) -> None:
    damage(rendered, tmp_path, what)
    with pytest.raises(kind, match=text):
        read_scenes(rendered, tmp_path, 32)


# All of it.


def test_the_material_of_a_run(
    config: TrainingConfig, root: Path, extra: ExtraConfig, rendered: RenderedConfig, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    config = replace(config, extra=(replace(extra, share=0.25),), rendered=rendered)
    folder, train, _ = split(config.data, tmp_path)
    found = read_material(config, tmp_path, train, folder)
    assert len(found.samples) == 8
    ((share, samples),) = found.extras
    assert share == 0.25 and len(samples) == 10
    assert found.scenes is not None
    assert found.scenes[0] == 0.5 and found.scenes[1].side == config.augment.crop
    plain = read_material(replace(config, extra=(), rendered=None), tmp_path, train, folder)
    assert plain.extras == [] and plain.scenes is None
