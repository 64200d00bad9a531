"""`br2focus evaluate` and `br2focus train` as a user calls them."""

import json

import cv2
import numpy as np
import pytest

from br2focus.models.evaluation.classical import CLASSICAL
from br2focus.plugins.cli import run

KEYS = ["model", "device", "images", "skipped", "ms_per_image", "metrics"]
FIGURES = [
    "mae",
    "auc",
    "max_f_focus",
    "max_f_blur",
    "f50_blur",
    "iou_blur",
    "iou_focus",
    "boundary_f",
]


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
        [
            "evaluate",
            "--images",
            f"{folder}/images",
            "--masks",
            f"{folder}/masks",
            "--polarity",
            "blurred",
            *map(str, options),
        ]
    )
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


# Labelled points of footage, and focal stacks.

POINTS = (
    "frame_id,source,second,width,height,x,y,radius,label,texture,note\n"
    "a,clip.mp4,0.08,160,90,30,40,9,F,1,\na,clip.mp4,0.08,160,90,120,40,9,B,1,\n"
    "b,p0.png,0,96,80,20,40,9,F,1,thin\nb,p0.png,0,96,80,80,40,9,B,1,\n"
)


@pytest.fixture
def footage(pairs, make_clip):
    """A clip and a still with points, and a stack of three slices."""
    make_clip(pairs / "clip.mp4", frames=6, size=(160, 90))
    (pairs / "images" / "p0.png").rename(pairs / "p0.png")
    (pairs / "points.csv").write_text(POINTS)
    (pairs / "pairs.csv").write_text("frame_id,sharper_index,softer_index\nb,0,1\n")
    (pairs / "stack").mkdir()
    sharp = np.random.default_rng(9).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    for number, sigma in enumerate((3, 1, 2)):
        soft = cv2.GaussianBlur(sharp, (0, 0), sigma)
        cv2.imwrite(str(pairs / "stack" / f"{number}.png"), soft)
    (pairs / "stack" / "notes.txt").write_text("no picture")
    return pairs


def on_footage(capsys, *options):
    code = run(["evaluate", "--device", "cpu", "--backend", "torch", *map(str, options)])
    return code, capsys.readouterr()


def test_points_of_a_clip_and_a_still(footage, detail_model, capsys):
    code, captured = on_footage(
        capsys,
        "--points",
        footage / "points.csv",
        "--pairs",
        footage / "pairs.csv",
        "--model",
        detail_model,
        "--json",
    )
    report = json.loads(captured.out)
    assert code == 0 and report["model"] == "detail"
    assert report["count"] == {"frames": 2, "F": 2, "B": 2, "thin": 1, "pairs": 1}
    assert 0 <= report["balanced"] <= 1 and report["pairs"] in (0, 0.5, 1)
    code, captured = on_footage(capsys, "--points", footage / "points.csv", "--model", "classical:laplacian")
    assert code == 0 and "points_auc" in captured.out and "pairs" in captured.out


def test_a_stack_names_the_best_slice_of_each_region(footage, detail_model, capsys):
    code, captured = on_footage(capsys, "--stack", footage / "stack", "--model", detail_model, "--json")
    report = json.loads(captured.out)
    assert code == 0 and report["slices"] == 3 and report["regions"] == 48
    assert report["contrast_best"] == [1] * 48 and len(report["best"]) == 48


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "give one of --images, --points and --stack"),
        (("--stack", "stack", "--points", "points.csv"), 2, "give one of"),
        (("--stack", "stack", "--pairs", "pairs.csv"), 2, "go with --points"),
        (("--stack", "stack", "--polarity", "blurred"), 2, "go with --images"),
        (("--stack", "missing"), 3, "missing: No such file"),
        (("--stack", "masks"), 3, None),
        (("--points", "missing.csv"), 3, "missing.csv: No such file"),
        (("--points", "late.csv"), 3, "no frame at 99"),
        (("--points", "large.csv"), 3, "points for 320x90, its picture is 160x90"),
    ],
)
def test_wrong_footage_is_one_line(footage, detail_model, capsys, monkeypatch, options, code, said):
    monkeypatch.chdir(footage)
    (footage / "late.csv").write_text(POINTS.replace("0.08", "99"))
    (footage / "large.csv").write_text(POINTS.replace("160,90,", "320,90,"))
    for mask in (footage / "masks").iterdir():
        if mask.stem != "p0":
            mask.unlink()
    found, captured = on_footage(capsys, *options, "--model", detail_model)
    assert found == code and captured.out == ""
    assert captured.err.count("\n") == 1 and (said or "two slices at least") in captured.err
