"""Training configurations: every shipped one reads, and every mistake is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from br2focus.models.training.augment import AugmentConfig
from br2focus.models.training.config import TrainingConfig, identity_settings, read_config

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_reads(path: Path) -> None:
    config = read_config(path)
    assert config.name == re.sub(r"_\d$", "", path.stem), "a later stage has its number"


def test_paper_is_the_paper_s_recipe() -> None:
    config = read_config(CONFIGS / "paper.toml")
    net, optimiser = config.network, config.optimiser
    assert (net.backbone, net.attention, net.rlrm) == ("resnext50_32x4d", "se", True)
    assert (net.fusion, net.width, net.reduce, net.h2l_tap) == ("conv", 128, None, 5)
    assert (optimiser.kind, optimiser.schedule, optimiser.warmup) == ("sgd", "poly", 0)
    assert (optimiser.lr, optimiser.backbone_lr) == (1e-3, 1e-3)
    assert (optimiser.bias_lr, optimiser.decay, optimiser.clip) == (2.0, 5e-4, 0.0)
    assert (config.batch, config.iterations, config.ema) == (8, 6000, 0.0)
    assert config.augment == AugmentConfig(300, (1.0, 1.0), 10.0, 0.0, 0.0, 100)
    assert config.scale.mean == (0.485, 0.456, 0.406)
    assert config.scale.std == (0.229, 0.224, 0.225)


def changed(config_path: Path, old: str, new: str) -> Path:
    text = config_path.read_text()
    assert old in text
    config_path.write_text(text.replace(old, new, 1))
    return config_path


EXTRA = '[[extra]]\nimages = "i"\nmasks = "m"\npolarity = "blurred"\n'
RENDERED = '[rendered]\nphotos = "p.txt"\n'
MISTAKES = [
    ("batch = 2", "bach = 2", "bach: unknown key, the known ones are name, data, network"),
    ("ignore = 128", "ignor = 128", "data.ignor: unknown key, .* images, masks, polarity"),
    ("reduce = 8", "reducee = 8", "network.reducee: unknown key, .* backbone, attention"),
    ("crop = 64", "corp = 64", "augment.corp: unknown key, .* crop, scale"),
    ("[augment]", "[scale]\nmeen = [0, 0, 0]\n[augment]", "scale.meen: unknown key, .* mean, std"),
    ("warmup = 2", "momentum = 0.9", "optimiser.momentum: unknown key, .* kind, lr"),
    ("batch = 2", 'batch = "2"', "batch: "),
    ("batch = 2", "batch = true", "batch: "),
    ("batch = 2", "batch = 2.5", "batch: "),
    ("batch = 2", "batch = 0", "batch: "),
    ("batch = 2", "seed = -1", "seed: "),
    ("batch = 2", "ema = 1.0", "ema: "),
    ("batch = 2", "seed = 1979-05-27", "seed: "),
    ('polarity = "blurred"', 'polarity = "sharp"', "data.polarity: .*'blurred' or 'focused'"),
    ("images = ", "images = 3 #", "data.images: "),
    ('fusion = "conv"', 'fusion = "sum"', "network.fusion: "),
    ('backbone = "mobilenet_v2"', 'backbone = "x"', "network: .*backbone = 'x' is not one of"),
    ("width = 8", 'width = "8"', "network.width: "),
    ("width = 8", "width = 0", "network: .*width = 0"),
    ("crop = 64", "crop = 0", "augment: .*crop = 0"),
    ("crop = 64", "scale = [1.0, 0.5]", r"augment: .*scale = \(1.0, 0.5\)"),
    ("crop = 64", "scale = 1.0", "augment.scale: "),
    ("warmup = 2", "lr = nan", "optimiser.lr: "),
    ("warmup = 2", 'kind = "adam"', "optimiser.kind: "),
    ('name = "tiny"', "", "name: Field required"),
    ("[augment]", EXTRA + "imges = 1\n[augment]", "extra.0.imges: unknown key, .* images, masks"),
    ("[augment]", EXTRA + "share = 2\n[augment]", "extra.0.share: .* 1"),
    ("[augment]", EXTRA + EXTRA + "ignor = 1\n[augment]", "extra.1.ignor: unknown key, .* share"),
    (
        "[augment]",
        RENDERED + "photo = 1\n[augment]",
        "rendered.photo: unknown key, .* photos, mattes",
    ),
    (
        "[augment]",
        RENDERED + "mix.sharpp = 1\n[augment]",
        "rendered.mix.sharpp: unknown key, the known ones are sharp, blurred",
    ),
    (
        "[augment]",
        EXTRA + "share = 0.7\n" + RENDERED + "share = 0.4\n[augment]",
        "the whole: .*1.1",
    ),
    (
        "[augment]",
        "[loss]\niuo = 1\n[augment]",
        "loss.iuo: unknown key, .* iou, edge, side, blur, radius, softness, teacher",
    ),
    ("[augment]", "[loss]\niou = -1.0\n[augment]", "loss.iou: "),
    ("[augment]", "[loss]\ndistil = 1.5\n[augment]", "loss.distil: "),
    ("[optimiser]", "[optimiser", "not a TOML file"),
]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_mistake_is_an_error_that_names_the_place(
    config_path: Path, old: str, new: str, expected: str
) -> None:
    path = changed(config_path, old, new)
    with pytest.raises(ValueError, match=f"{path}: (.*; )?{expected}"):
        read_config(path)


def test_two_mistakes_are_both_named(config_path: Path) -> None:
    path = changed(changed(config_path, "batch = 2", "batch = 0"), "crop = 64", "corp = 64")
    with pytest.raises(ValueError, match=r"batch: .*augment\.corp: |augment\.corp: .*batch: "):
        read_config(path)


def test_bytes_that_are_no_text(config_path: Path) -> None:
    config_path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="tiny.toml: not a TOML file"):
        read_config(config_path)


def test_nothing_given_is_nothing_lost(config: TrainingConfig) -> None:
    assert (config.network.width, config.network.reduce, config.network.h2l_tap) == (8, 8, 2)
    assert (config.augment.crop, config.augment.rotation) == (64, 5.0)
    assert (config.data.images, config.data.ignore) == (Path("images"), 128)


# What a run depends on.


def test_standard_is_read_whole() -> None:
    config = read_config(CONFIGS / "standard.toml")
    (extra,) = config.extra
    assert (extra.share, extra.agree) == (0.15, "lite") and extra.leave_out is not None
    assert config.rendered is not None
    assert config.rendered.photos == CONFIGS / "sharp_photos.txt" and config.rendered.share == 0.25
    assert (config.loss.iou, config.loss.edge, config.loss.teacher) == (0.5, 0.0, None)
    assert config.backbone_start == Path("weights/efficientnet_lite2.safetensors")


def test_what_decides_is_flat_and_in_json() -> None:
    settings = identity_settings(read_config(CONFIGS / "standard.toml"))
    assert json.loads(json.dumps(settings)) == settings
    assert settings["network.backbone"] == "efficientnet_lite2"
    assert settings["rendered.photos"] == "sharp_photos.txt"
    assert settings["rendered.mix.radius"] == 0.04
    assert settings["extra"][0]["agree"] == "lite"


def test_where_the_program_is_started_does_not_decide(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_path.write_text(config_path.read_text() + RENDERED + "share = 0.5\n")
    there = read_config(config_path)
    monkeypatch.chdir(config_path.parent)
    here = read_config(Path(config_path.name))
    assert here != there
    assert identity_settings(here) == identity_settings(there)


def test_what_is_incidental_does_not_decide(config: TrainingConfig) -> None:
    data = replace(config.data, description="other words")
    other = replace(config, name="b", size=96, validate_every=1, save_every=1, data=data)
    assert identity_settings(other) == identity_settings(config)


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 4},
        {"seed": 1},
        {"iterations": 13},
        {"bf16": False},
        {"ema": 0.5},
        {"start": "lite"},
    ],
    ids=str,
)
def test_what_decides(config: TrainingConfig, change: dict[str, object]) -> None:
    (key,) = change
    before, after = identity_settings(config), identity_settings(replace(config, **change))  # type: ignore[arg-type]
    assert [k for k in before if before[k] != after[k]] == [key]


def test_tables_decide(config: TrainingConfig) -> None:
    changes = {
        "data.validation": replace(config, data=replace(config.data, validation=3)),
        "network.width": replace(config, network=replace(config.network, width=9)),
        "augment.crop": replace(config, augment=replace(config.augment, crop=65)),
        "optimiser.lr": replace(config, optimiser=replace(config.optimiser, lr=0.5)),
        "loss.iou": replace(config, loss=replace(config.loss, iou=0.5)),
    }
    before = identity_settings(config)
    for key, other in changes.items():
        after = identity_settings(other)
        assert [k for k in before if before[k] != after[k]] == [key]
