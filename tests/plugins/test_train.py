"""`br2focus train` as a user calls it: everything switched on, and one line for whatever is wrong."""

import json
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from br2focus.models import checkpoint
from br2focus.models.config import InputScale
from br2focus.plugins.cli import run

CONFIG = """
name = "small"
iterations = 2
batch = 2
size = 64
bf16 = false
BEFORE
[data]
images = "images"
masks = "masks"
polarity = "blurred"
validation = 1
[network]
backbone = "mobilenet_v2"
width = 4
reduce = 4
h2l_tap = 2
[augment]
crop = 64
AFTER
"""
EXTRA = """
[[extra]]
images = "images"
masks = "masks"
polarity = "blurred"
share = 0.3
leave_out = "bad.txt"
"""
RENDERED = """
[rendered]
share = 0.4
photos = "photos.txt"
mattes = "things"
"""


@pytest.fixture
def folder(tmp_path):
    """Pictures with masks, photographs and cut-outs, and the lists of them."""
    for name in ("images", "masks", "things/images", "things/masks"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(4):
        sharp = np.random.default_rng(number).integers(0, 255, (80, 96, 3)).astype(np.uint8)
        mask = np.zeros((80, 96), np.uint8)
        mask[:, 48:] = 255
        blurred = np.where(mask[:, :, None] > 0, cv2.GaussianBlur(sharp, (0, 0), 3), sharp)
        cv2.imwrite(str(tmp_path / f"images/{number}.png"), blurred)
        cv2.imwrite(str(tmp_path / f"masks/{number}.png"), mask)
        cv2.imwrite(str(tmp_path / f"things/images/{number}.png"), sharp)
        cv2.imwrite(str(tmp_path / f"things/masks/{number}.png"), mask)
    (tmp_path / "bad.txt").write_text("2 a duplicate\n")
    (tmp_path / "photos.txt").write_text("images/0.png\nimages/1.png\n")
    (tmp_path / "broken.pth").write_text("no weights")
    return tmp_path


def train(folder, capsys, *options, before="", after=""):
    text = CONFIG.replace("BEFORE", before).replace("AFTER", after)
    (folder / "small.toml").write_text(text)
    fixed = ["train", str(folder / "small.toml"), "--data", str(folder), "--out", f"{folder}/run"]
    code = run([*fixed, *map(str, options)])
    return code, capsys.readouterr()


def test_everything_at_once(folder, model, capsys, monkeypatch):
    monkeypatch.setattr("br2focus.models.training.material.DISTRUSTED", 1.0)  # it knows nothing
    info = checkpoint.read_info(Path(model))
    assert info.scale == InputScale()
    after = EXTRA + f"agree = '{model}'\n" + RENDERED
    after += f"[loss]\niou = 0.5\nedge = 0.5\nteacher = '{model}'\n"
    code, captured = train(folder, capsys, "--json", after=after)
    assert code == 0, captured.err
    assert json.loads(captured.out) == {"model": f"{folder}/run/small.safetensors", "iterations": 2}
    events = [json.loads(line) for line in (folder / "run/log.jsonl").read_text().splitlines()]
    assert [event["iteration"] for event in events] == [1, 2]
    made = sorted(path.name for path in (folder / "run").iterdir())
    assert made == ["log.jsonl", "loss.png", "small.safetensors", "state.safetensors"]
    assert checkpoint.load(folder / "run/small.safetensors")[1].name == "small"


def test_a_trained_model_is_a_start(folder, capsys):
    assert train(folder, capsys)[0] == 0
    (folder / "run").rename(folder / "first")
    before = f"start = '{folder}/first/small.safetensors'"
    assert train(folder, capsys, before=before)[0] == 0
    code, captured = train(folder, capsys, before="seed = 3")
    assert code == 6 and "seed was 0, is 3" in captured.err and captured.err.count("\n") == 1


MISTAKES = [
    ({"before": "sed = 1"}, 2, "sed: unknown key, the known ones are name"),
    ({"after": EXTRA + "imges = 1"}, 2, "extra.0.imges: unknown key"),
    ({"after": EXTRA.replace("0.3", "0.7") + RENDERED}, 2, "over 1"),
    ({"after": EXTRA.replace("bad.txt", "gone.txt")}, 3, "cannot read the list"),
    ({"after": EXTRA.replace('"images"', '"gone"')}, 3, "no such folder"),
    ({"after": EXTRA + 'names = "gone.txt"'}, 3, "gone.txt"),
    ({"after": EXTRA + 'agree = "nobody"'}, 6, "no model 'nobody'"),
    ({"after": RENDERED.replace("photos.txt", "gone.txt")}, 3, "cannot read the list"),
    ({"after": RENDERED.replace("photos.txt", "bad.txt")}, 3, "missing, or not a picture"),
    ({"after": RENDERED.replace("things", "gone")}, 3, "no such folder"),
    ({"after": '[loss]\nteacher = "nobody"'}, 6, "no model 'nobody'"),
    ({"before": 'start = "nobody"'}, 6, "no model 'nobody'"),
    ({"before": 'start = "lite"'}, 3, "start = 'lite': another network"),
    ({"before": 'backbone_start = "gone.safetensors"'}, 3, "gone.safetensors"),
    ({"before": 'backbone_start = "broken.pth"'}, 3, "broken.pth: not a safetensors file"),
]


@pytest.mark.parametrize(("change", "code", "text"), MISTAKES, ids=[str(m[0]) for m in MISTAKES])
def test_a_mistake_is_one_line_and_its_exit_code(folder, capsys, change, code, text):
    found, captured = train(folder, capsys, **change)
    assert found == code and text in captured.err, captured.err
    assert captured.err.startswith("br2focus: ") and captured.err.count("\n") == 1
    assert captured.out == "" and "a bug" not in captured.err


def test_mistakes_of_the_options(folder, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    cases = [
        (("--out", tmp_path / "file"), 5, "file: File exists"),
        (("--out", tmp_path / "file/run"), 5, "Not a directory"),
        (("--device", "toaster"), 6, "toaster"),
        (("--data", tmp_path / "gone"), 3, "no such folder"),
    ]
    for options, code, text in cases:
        found, captured = train(folder, capsys, *options)
        assert found == code and text in captured.err and captured.err.count("\n") == 1
    assert run(["train", str(tmp_path / "gone.toml"), "--data", str(tmp_path)]) == 2
    assert "gone.toml: No such file or directory" in capsys.readouterr().err


@pytest.mark.needs_cuda
def test_training_on_a_gpu(folder, capsys):
    code, captured = train(folder, capsys, "--device", "cuda", after="[loss]\niou = 0.5\n")
    assert code == 0, captured.err


def test_a_full_disk_is_exit_5(folder, capsys, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device", f"{folder}/run/state.safetensors")

    monkeypatch.setattr("br2focus.models.training.run.save_state", refuse)
    code, captured = train(folder, capsys)
    assert code == 5 and "state.safetensors: No space left on device" in captured.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_state(folder, capsys, monkeypatch, number, code):
    from br2focus.plugins.cli import train as module

    def interrupt(progress, done, *rest):
        if done == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(module.Progress, "__call__", interrupt)
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", CONFIG.replace("s = 2", "s = 50", 1))
    found, captured = train(folder, capsys)
    assert found == code and captured.out == ""
    with safe_open(folder / "run/state.safetensors", framework="pt") as file:
        assert file.metadata()["iteration"] == "3"
    assert not (folder / "run/small.safetensors").exists()


# Several processes, as torchrun says it.


@pytest.fixture
def two_processes(monkeypatch):
    """What torchrun tells the first of two processes; nothing joins."""
    for name, value in (
        ("TORCHELASTIC_RUN_ID", "x"),
        ("LOCAL_RANK", "0"),
        ("LOCAL_WORLD_SIZE", "2"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **k: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)


def test_processes_need_a_gpu_each_and_an_equal_part(folder, capsys, two_processes):
    code, captured = train(folder, capsys, "--device", "cuda:0")
    assert code == 2 and "several processes cannot share cuda:0" in captured.err
    code, captured = train(folder, capsys)
    assert code == 2 and "batch = 2 cannot be divided among 3 processes" in captured.err
