"""The ablation: its rows change one thing each, its trainings resume and are not repeated, its tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.measure import ablation as ablation_module
from benchmarks.paths import DOCS, RESULTS
from benchmarks.report import ablation as report_module
from br2focus.models.br2net import BR2Net
from br2focus.models.config import BR2NetConfig
from br2focus.models.training.config import read_config
from br2focus.models.training.data import stacked

DOCUMENT = DOCS / "ablation.md"
ALL = ("mae", "auc", "max_f_focus", "f50_blur", "boundary_f")
TINY = """
name = "tiny"
iterations = 4
batch = 2
size = 64
save_every = 2

[data]
images = "images"
masks = "masks"
polarity = "blurred"
validation = 1

[network]
backbone = "mobilenet_v2"
fusion = "mean"
width = 4
reduce = 4
h2l_tap = 2

[augment]
crop = 64
"""


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return ablation_module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return report_module


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: losses can be compared exactly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures of noise, the right half of each smoothed, and a configuration of some seconds."""
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    mask = np.zeros((72, 96), np.uint8)
    mask[:, 48:] = 255
    for index in range(4):
        sharp = rng.integers(0, 256, (72, 96, 3), np.uint8)
        picture = np.where(mask[:, :, None] > 0, cv2.GaussianBlur(sharp, (0, 0), 3), sharp)
        cv2.imwrite(str(tmp_path / f"data/images/{index}.png"), picture)
        cv2.imwrite(str(tmp_path / f"data/masks/{index}.png"), mask)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def run(ablation: ModuleType, data: Path) -> Callable[..., int]:
    """``run("--only", "base", out="part")`` runs the script into a folder of its own."""

    def call(*arguments: str, out: str = "out") -> int:
        (data / out).mkdir(exist_ok=True)
        places = {
            "config": data / "tiny.toml",
            "data": data / "data",
            "out": data / out,
            "runs": data / out / "runs",
        }
        options = [text for name, path in places.items() for text in (f"--{name}", str(path))]
        return int(ablation.main([*options, *arguments]))

    return call


def written(data: Path, out: str = "out") -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads((data / out / "ablation.json").read_text())["runs"]
    return runs


# Rows.


def test_each_row_is_the_base_with_its_switch(ablation: ModuleType) -> None:
    base = read_config(ablation.CONFIG)
    for row, switches in ablation.ROWS.items():
        config = ablation.configure(base, row, 3)
        differ = {f.name for f in fields(base) if getattr(base, f.name) != getattr(config, f.name)}
        assert differ - {"network"} == {"name", "seed", "validate_every", *switches} - {"network"}
        network = base.network.__dict__ | switches.get("network", {})
        assert config.network == BR2NetConfig(**network), row
    assert ablation.configure(base, "l2h", 0).network.fusion == "l2h"
    assert ablation.configure(base, "random_vgg16", 0).backbone_start is None
    assert base.backbone_start


def test_the_document_shows_every_row(ablation: ModuleType, report: ModuleType) -> None:
    assert {row for group in report.GROUPS for row in group.rows} == set(ablation.ROWS)


def test_slow_rows_have_one_seed_unless_asked(ablation: ModuleType) -> None:
    default = ablation.jobs(ablation.parse(["--only", "base", "random_vgg16"]))
    assert default == [("base", 0), ("random_vgg16", 0), ("base", 1)]
    asked = ablation.jobs(ablation.parse(["--only", "random_vgg16", "--seeds", "4", "5"]))
    assert asked == [("random_vgg16", 4), ("random_vgg16", 5)]


@pytest.mark.parametrize(("fusion", "maps"), [("l2h", 5), ("h2l", 5), ("mean", 11), ("conv", 11)])
def test_a_single_pathway_is_supervised_alone(ablation: ModuleType, fusion: Any, maps: int) -> None:
    net = BR2Net(BR2NetConfig(backbone="mobilenet_v2", fusion=fusion, width=4)).eval()
    supervised = ablation.Supervised(net)
    x = torch.randn(2, 3, 64, 64)
    given = supervised(x)
    assert len({id(m) for m in given.all()}) == len(given.all()) == maps
    torch.testing.assert_close(given.fused, net(x).fused)
    assert torch.equal(supervised.fused, given.fused)

    torch.stack([m.sum() for m in given.all()]).sum().backward()  # type: ignore[no-untyped-call]
    learning = sum(p.numel() for p in net.parameters() if p.grad is not None)
    assert ablation.parameters(net.config) == learning
    whole = sum(p.numel() for p in net.parameters())
    assert (learning < whole) == (maps == 5)


def test_the_loss_of_the_result_is_told_apart(
    ablation: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ablation.configure(read_config(data / "tiny.toml"), "base", 0)
    trainer = ablation.RowTrainer(config, data / "data", data / "run")
    items = [trainer.data[i] for i in range(2)]
    batch = stacked(items)
    whole = trainer.step(batch)
    fused = trainer.supervised.fused
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = float(bce(fused[batch.valid > 0].float(), batch.mask[batch.valid > 0]))
    assert trainer.result_loss == pytest.approx(expected, rel=1e-5)
    assert 5 * trainer.result_loss < whole < 20 * trainer.result_loss


def test_curves_are_thinned_to_means(ablation: ModuleType) -> None:
    assert ablation.thinned([1.0, 2.0, 4.0]) == [1, 2, 4]
    thin = ablation.thinned(list(range(1000)))
    assert len(thin) == 100 and thin[:2] == [4.5, 14.5]


# Trainings.


def test_finished_rows_are_skipped_unless_again(
    run: Callable[..., int], data: Path, ablation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--only", "base", "l2h", "--seeds", "2") == 0
    first = written(data)
    assert [(r["row"], r["seed"]) for r in first] == [("base", 2), ("l2h", 2)]
    for entry in first:
        assert set(entry["figures"]) == set(ALL)
        assert entry["iterations"] == 4 and entry["curve"]["iteration"] == [1, 2, 3, 4]
        assert len(entry["curve"]["sum"]) == len(entry["curve"]["result"]) == 4
        assert entry["seconds_per_iteration"] > 0 and "torch" in entry["versions"]
        assert entry["machine"]
    assert not list(data.rglob("state.safetensors")), "states of finished rows are not kept"

    trained: list[str] = []
    train = ablation.train

    def noted(config: Any, *rest: Any) -> bool:
        trained.append(config.name)
        return bool(train(config, *rest))

    monkeypatch.setattr(ablation, "train", noted)
    before = (data / "out/ablation.json").read_bytes()
    assert run("--only", "base", "l2h", "--seeds", "2") == 0
    assert trained == [] and (data / "out/ablation.json").read_bytes() == before
    assert run("--only", "base", "--seeds", "2", "--again") == 0
    assert trained == ["base"]
    again = written(data)
    assert len(again) == 2
    assert again[0]["curve"] == first[0]["curve"], "everything random follows from the seed"


def test_a_stopped_row_goes_on_where_it_was(
    run: Callable[..., int], data: Path, ablation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("--only", "no_rlrm", "--seeds", "0", out="whole")
    train, step, steps = ablation.train, ablation.RowTrainer.step, []

    def counted(trainer: Any, batch: Any) -> float:
        steps.append(trainer.iteration)
        return float(step(trainer, batch))

    def interrupted(config: Any, root: Path, folder: Path, stop: Callable[[], bool]) -> bool:
        return bool(train(config, root, folder, lambda: len(steps) == 3))

    monkeypatch.setattr(ablation.RowTrainer, "step", counted)
    with monkeypatch.context() as patch:
        patch.setattr(ablation, "train", interrupted)
        run("--only", "no_rlrm", "iou", "--seeds", "0", out="part")
    assert steps == [0, 1, 2], "stopped, and the next row was not begun"
    assert not (data / "part/ablation.json").exists()
    assert run("--only", "no_rlrm", "--seeds", "0", out="part") == whole == 0
    assert steps == [0, 1, 2, 3]
    ours, theirs = written(data, "part")[0], written(data, "whole")[0]
    assert (ours["curve"], ours["figures"]) == (theirs["curve"], theirs["figures"])


def test_a_finished_training_is_not_repeated_when_the_json_is_lost(
    run: Callable[..., int], data: Path, ablation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--only", "base", "--seeds", "0")
    before = written(data)
    (data / "out/ablation.json").unlink()
    monkeypatch.delattr(ablation, "RowTrainer")
    assert run("--only", "base", "--seeds", "0") == 0
    assert written(data) == before


def test_a_row_that_fails_does_not_end_the_others(
    run: Callable[..., int],
    data: Path,
    ablation: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = ablation.train

    def failing(config: Any, *rest: Any) -> bool:
        if config.name == "base":
            raise FloatingPointError("the loss is nan at iteration 1")
        return bool(train(config, *rest))

    monkeypatch.setattr(ablation, "train", failing)
    assert run("--only", "base", "l2h", "--seeds", "0") == 1
    assert [r["row"] for r in written(data)] == ["l2h"]
    assert "base, seed 0: the loss is nan" in capsys.readouterr().err


def test_another_length_is_not_mixed_in(
    run: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--only", "l2h", "--seeds", "0", "--iterations", "1")
    before = (data / "out/ablation.json").read_bytes()
    assert run("--only", "l2h", "--seeds", "0") == 2
    assert "another base configuration" in capsys.readouterr().err
    assert (data / "out/ablation.json").read_bytes() == before


# The document.


def entry(row: str, seed: int, mae: float | None, result: float = 0.5) -> dict[str, Any]:
    figures = dict.fromkeys(ALL, 0.5) | {"mae": mae}
    return {
        "row": row,
        "seed": seed,
        "switches": {},
        "iterations": 4,
        "figures": figures,
        "parameters": 2_500_000,
        "seconds_per_iteration": 0.25,
        "machine": "a machine",
        "curve": {"iteration": [1, 2], "result": [0.7, result], "sum": [7.0, 5.0]},
        "versions": {"torch": "9"},
    }


def content(*runs: dict[str, Any]) -> dict[str, Any]:
    base = {
        "iterations": 4,
        "batch": 2,
        "size": 64,
        "augment": {"crop": 32},
        "data": {"validation": 3, "description": "some pictures"},
        "network": {"reduce": 8, "width": 9},
    }
    return {"base": base, "runs": list(runs)}


def test_cells_are_means_with_their_spread(report: ModuleType) -> None:
    pairs = {"base": (0.2, 0.21), "l2h": (0.225, 0.235), "h2l": (0.2, 0.22), "conv": (0.1, None)}
    runs = [entry(row, seed, pair[seed]) for row, pair in pairs.items() for seed in (0, 1)]
    text = report.document(content(*runs))
    lines = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    # Pooled deviation: sqrt((.00005 + .00005 + .0002) / 3) = .01, so two seeds differ from .02 on.
    assert "is 0.010 for `mae`, 0.000 for `auc`" in text
    same = "| 0.500 ± 0.000 | 0.500 ± 0.000 | 0.500 ± 0.000 | 0.500 ± 0.000 | 2.50 M | 0.25 | 2 |"
    assert lines["| both, mean (base)"] == f"| both, mean (base) | 0.205 ± 0.005 {same}"
    assert lines["| L2H alone"] == f"| L2H alone | 0.230 ± 0.005 \\* {same}"
    assert lines["| H2L alone"] == f"| H2L alone | 0.210 ± 0.010 {same}"
    assert lines["| both, learned fusion"] == f"| both, learned fusion | 0.100 \\* {same}"
    assert "4 iterations of 2 crops of 32 px, from some pictures" in text
    assert "the 3 pairs held back" in text
    assert text.count("Trained on a machine; torch 9.") == 1
    assert "## Attention" not in text and "`cbam`" in text.split("Not trained yet: ")[1]


def test_one_seed_has_no_spread(report: ModuleType) -> None:
    text = report.document(content(entry("base", 0, 0.2), entry("l2h", 0, 0.9)))
    assert "| L2H alone | 0.900 | 0.500 |" in text
    assert "the noise is not known" in text


def test_the_findings_are_kept(report: ModuleType) -> None:
    figures = content(entry("base", 0, 0.2), entry("l2h", 0, 0.3))
    empty = report.document(figures)
    mark = "<!-- findings -->\n"
    ours = empty.replace(mark, f"{mark}L2H is worse.\n")
    assert ours != empty
    assert report.document(figures, ours) == ours


def test_lengths_are_not_mixed(report: ModuleType) -> None:
    longer = entry("l2h", 0, 0.3) | {"iterations": 8}
    with pytest.raises(ValueError, match=r"\[4, 8\] iterations"):
        report.document(content(entry("base", 0, 0.2), longer))


def test_writes_checks_and_draws(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"folder": tmp_path, "docs": tmp_path}
    assert report.main([], **places) == 1
    assert "run python -m benchmarks.measure.ablation" in capsys.readouterr().err
    file = tmp_path / "ablation.json"
    file.write_text(json.dumps(content(entry("base", 0, 0.2), entry("no_rlrm", 0, 0.3, 0.6))))
    assert report.main(["--check"], **places) == 1
    assert not (tmp_path / "ablation.md").exists()
    assert report.main([], **places) == report.main(["--check"], **places) == 0
    assert "(ablation_loss.png)" in (tmp_path / "ablation.md").read_text()
    assert cv2.imread(str(tmp_path / "ablation_loss.png")) is not None
    file.write_text("{}")
    assert report.main([], **places) == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_the_document_is_up_to_date(report: ModuleType) -> None:
    if not (RESULTS / "ablation.json").exists() and not DOCUMENT.exists():
        pytest.skip("the ablation has not been run: benchmarks/results/ablation.json is not there")
    assert report.main(["--check"]) == 0
