"""``br2focus models``: what is shipped, and the same of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from br2focus.models import checkpoint
from br2focus.plugins.cli import run


def test_lists_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert {m["name"]: m["sha256"] for m in models} == checkpoint.shipped()
    for model in models:
        net, info = checkpoint.load(Path(model["path"]))
        assert model["parameters"] == sum(p.numel() for p in net.parameters())
        assert model["size"] == info.size and model["megabytes"] < 50
        assert model["card"] and model["data"]


def test_a_file_is_described_in_words(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", str(model)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("random: BR2Net on mobilenet_v2") and "card" not in out


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "nothing"]) == 6
    assert capsys.readouterr().err.count("\n") == 1
