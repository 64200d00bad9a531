"""docs/formats.md says what is written: its keys, columns and preset are those of the program."""

import json
import re
from pathlib import Path

import pytest

from br2focus.plugins.cli import run
from br2focus.plugins.cli.archive.run import COLUMNS as ARCHIVE_COLUMNS
from br2focus.realtime.presets import load_preset
from br2focus.realtime.sinks.metrics import COLUMNS

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
ANNOTATE, ARCHIVE, LIVE = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))


def test_annotate(detail_model, make_clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_clip(Path("clip.mp4"), frames=2)
    Path("bad.mp4").write_bytes(b"no video" * 50)
    arguments = ["annotate", "clip.mp4", "bad.mp4", "--model", detail_model, "--json"]
    assert run([*arguments, "--device", "cpu", "--backend", "torch"]) == ANNOTATE["failed"][0]["exit"]
    written = json.loads(capsys.readouterr().out)
    assert written.keys() == ANNOTATE.keys()
    for key, [documented] in ANNOTATE.items():
        [entry] = written[key]
        assert entry.keys() == documented.keys()
        assert {k: type(v) for k, v in entry.items()} == {k: type(v) for k, v in documented.items()}


def test_live(model, capsys):
    arguments = ["live", "test", "--headless", "--duration", "1", "--model", model, "--json"]
    assert run(arguments) == 0
    written = json.loads(capsys.readouterr().out)
    assert written.keys() == LIVE.keys() and written["age_ms"].keys() == LIVE["age_ms"].keys()


def test_archive(model, make_clip, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    make_clip(Path("in", "clip.mp4"), frames=2)
    Path("in", "bad.mp4").write_bytes(b"no video" * 50)
    arguments = [
        "archive",
        "in",
        "--out",
        "out",
        "--model",
        model,
        "--backend",
        "openvino",
        "--json",
    ]
    assert run([*arguments, "--precision", "fp32"]) == 7
    *events, summary = map(json.loads, capfd.readouterr().out.splitlines())
    assert summary.keys() == ARCHIVE.keys()
    table = PAGE.partition("## The journal")[2].partition("|---")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert rows.keys() == {event["event"] for event in events} | {"died"}
    of_annotate = ANNOTATE["inputs"][0].keys() - {"output", "stopped"}
    for event in events:
        told = set(re.findall(r"`(\w+)`", rows[event["event"]])) - {"annotate"}
        told |= of_annotate if event["event"] == "done" else set()
        assert event.keys() - {"event"} == told, event


@pytest.mark.parametrize("column", [*COLUMNS, "NAME_sharpness", *ARCHIVE_COLUMNS])
def test_columns(column):
    assert re.search(rf"^\| .*`{column}`.* \|", PAGE, re.MULTILINE)


def test_preset(tmp_path):
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    settings = load_preset(tmp_path / "mine.toml")
    assert settings.style.stripes and settings.style.levels == 3 and settings.coc == "1/1500"
    assert settings.rois[0].name == "eye"
