"""`br2focus evaluate` and `br2focus train` as a user calls them."""

import json

import cv2
import numpy as np
import pytest

from br2focus.models.evaluation.classical import CLASSICAL
from br2focus.plugins.cli import run

KEYS = ["model", "device", "images", "skipped", "ms_per_image", "metrics"]
FIGURES = [
    "mae", "auc", "max_f_focus", "max_f_blur", "f50_blur", "iou_blur", "iou_focus", "boundary_f",
]  # fmt: skip


@pytest.fixture
def pairs(tmp_path):
    """Four pictures, the right half blurred, with masks that are white there."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(4):
        sharp = np.random.default_rng(number).integers(0, 255, (80, 96, 3)).astype(np.uint8)
        sharp[:, 48:] = cv2.GaussianBlur(sharp, (0, 0), 3)[:, 48:]
        mask = np.zeros((80, 96), np.uint8)
        mask[:, 48:] = 255
        cv2.imwrite(str(tmp_path / "images" / f"p{number}.png"), sharp)
        cv2.imwrite(str(tmp_path / "masks" / f"p{number}.png"), mask)
    return tmp_path


def evaluate(folder, capsys, *options):
    code = run(
        ["evaluate", "--images", f"{folder}/images", "--masks", f"{folder}/masks",
         "--polarity", "blurred", *map(str, options)]
    )  # fmt: skip
    return code, capsys.readouterr()


def test_json_has_the_contract_s_keys(pairs, model, capsys):
    code, captured = evaluate(pairs, capsys, "--model", model, "--device", "cpu", "--json")
    report = json.loads(captured.out)
    assert code == 0 and list(report) == KEYS and list(report["metrics"]) == FIGURES
    assert report["images"] == 4 and report["model"] == "random" and "cpu" in report["device"]


def test_what_was_given_up_is_said(pairs, model, capsys):
    options = ("--model", model, "--device", "cpu", "--backend", "torch", "--compile", "--json")
    code, captured = evaluate(pairs, capsys, *options)
    assert code == 0 and json.loads(captured.out)["images"] == 4
    assert captured.err.count("br2focus: torch.compile is for a GPU: left out") == 1


@pytest.mark.parametrize("method", CLASSICAL)
def test_classical_methods_are_models(pairs, capsys, method):
    code, captured = evaluate(pairs, capsys, "--model", f"classical:{method}", "--json")
    metrics = json.loads(captured.out)["metrics"]
    assert code == 0
    assert metrics["auc"] == 0.5 if method == "all_blurred" else metrics["auc"] > 0.9


def test_table_and_curves(pairs, capsys):
    options = ("--model", "classical:laplacian", "--curves", pairs / "curves")
    code, captured = evaluate(pairs, capsys, *options)
    assert code == 0 and "f50_blur" in captured.out
    assert sorted(p.name for p in (pairs / "curves").iterdir()) == ["f.png", "pr.png", "roc.png"]


@pytest.mark.parametrize(("label", "alarm"), [("blurred", 0.0), ("sharp", 1.0)])
def test_pictures_of_one_class_have_a_false_alarm(pairs, capsys, label, alarm):
    args = ["evaluate", "--images", f"{pairs}/images", "--everywhere", label, "--json"]
    assert run([*args, "--model", "classical:all_blurred"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["false_alarm"] == alarm and metrics["auc"] is None
    assert run([*args, "--model", "classical:all_blurred", "--curves", str(pairs / "c")]) == 2
    assert "both blurred and sharp" in capsys.readouterr().err


def test_masks_or_everywhere(pairs, capsys):
    args = ["evaluate", "--images", f"{pairs}/images", "--model", "classical:laplacian"]
    assert run(args) == 2 and "--everywhere" in capsys.readouterr().err
    assert run([*args, "--everywhere", "sharp", "--polarity", "blurred"]) == 2
    assert "instead of --masks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--model", "classical:magic"], 2, "classical:laplacian"),
        (["--images", "nowhere"], 3, "nowhere"),
        (["--list", "nowhere.txt"], 3, "nowhere.txt"),
        (["--polarity", "maybe"], 2, "focused"),
        (["--model", "nothing"], 6, "no model"),
    ],
)
def test_wrong_options_are_one_line(pairs, capsys, options, code, text):
    found, captured = evaluate(pairs, capsys, *options)
    assert found == code and text in captured.err and captured.err.count("\n") == 1


def test_train_from_a_config_and_its_errors(pairs, capsys, tmp_path):
    config = tmp_path / "small.toml"
    text = """
        name = "small"
        iterations = 2
        batch = 2
        size = 64
        [data]
        images = "images"
        masks = "masks"
        polarity = "blurred"
        validation = 1
        [network]
        backbone = "mobilenet_v2"
        width = 4
        reduce = 4
        [augment]
        crop = 64
        """
    config.write_text(text)
    args = ["train", str(config), "--data", str(pairs), "--out", str(tmp_path / "run"), "--json"]
    assert run(args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["iterations"] == 2
    made = {p.name for p in (tmp_path / "run").iterdir()}
    assert made == {"log.jsonl", "loss.png", "small.safetensors", "state.safetensors"}
    code, captured = evaluate(pairs, capsys, "--model", report["model"], "--json")
    assert code == 0 and json.loads(captured.out)["model"] == "small"

    config.write_text(text.replace("crop", "corp"))
    assert run(args) == 2
    assert "corp" in capsys.readouterr().err
    config.write_text(text)
    assert run([*args[:2], "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 3
