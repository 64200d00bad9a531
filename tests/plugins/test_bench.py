"""`br2focus bench`: its figures are there, under the names that others read; no time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from br2focus.plugins.cli import run
from br2focus.plugins.cli.bench.live import BackgroundLoad, Watch
from br2focus.plugins.cli.bench.main import engine_text, video_text
from br2focus.realtime.stats import Statistics

KEYS = {"frames_per_second", "dropped", "age_ms", "stages_ms", "memory_slope_bytes_per_frame"}


@pytest.mark.parametrize("headless", [True, False])
def test_live_reports_what_others_read(headless: bool, model: str) -> None:
    args = ["--seconds", "2", "--soak", "150", "--picture", "128x96", "--json", "--model", model]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "br2focus.plugins.cli",
            "bench",
            "live",
            "--device",
            "cpu",
            *args,
            *(["--headless"] if headless else []),
        ],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) >= KEYS and report["model"] == "random"
    assert report["age_ms"]["p95"] >= report["age_ms"]["p50"] > report["age_ms"]["smoothing"] >= 0
    stages = {"waiting", "network", "smoothing", "refining"}
    stages |= set() if headless else {"overlay", "screen", "paint"}
    assert set(report["stages_ms"]) == stages
    assert isinstance(report["memory_slope_bytes_per_frame"], float)


def test_the_figures_are_those_of_the_measured_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    watch = Watch(BackgroundLoad((64, 48), 30, 10.0, 1000))  # type: ignore[arg-type]
    resets = []
    for tenth in range(200):
        clock[0] = 100 + tenth / 10
        counted = 3 * (tenth - 20) if resets else 1 + 3 * tenth
        stats = Statistics(counted, dropped=50 if tenth < 21 else 50 + tenth // 40)
        if watch.paced_over(stats, lambda: resets.append(1)):
            break
    assert len(resets) == 1, "after the warm-up"
    assert watch.per_second == pytest.approx(30) and watch.dropped == 3
    memory = iter(range(10**8, 2 * 10**8, 5000))
    monkeypatch.setattr("br2focus.plugins.cli.bench.live.resident_bytes", lambda: next(memory))
    for frame in range(0, 1001, 50):
        watch.soak_over(Statistics(frame), resets.clear)
    assert watch.slope == pytest.approx(100)


@pytest.mark.parametrize("picture", ["640", "axb", "4x4"])
def test_a_wrong_picture_is_said(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "live", "--picture", picture, "--headless"]) == 2
    assert picture in capsys.readouterr().err


def test_engine_compares_every_way_with_the_plain_network(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["bench", "engine", "--picture", "160x120", "--seconds", "0", "--model", model]
    assert run([*args, "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["map"] == "128x96" and report["gmac"]["plain"] >= report["gmac"]["fast"] * 0.98 > 0
    rows = {row["way"]: row for row in report["network"]}
    assert {"plain torch fp32", "torch fp32", "openvino fp32"} <= set(rows)
    for name, row in rows.items():
        assert row["p95"] >= row["p50"] > 0 and row["share_of_ceiling"] > 0
        if "fp32" in name:  # tests/realtime/engine/test_backends.py judges the others
            assert row["largest_difference"] <= 1e-4, name
        else:
            assert 0 < row["mean_difference"] < 0.1, name
    assert rows["openvino fp32"]["maps_per_s_in_flight"] > 0
    assert {"preprocess", "network", "smoothing", "overlay heat"} <= set(report["stages_ms"])
    assert any("blurdetect" in name for name in report["peers_ms"])
    assert report["ceiling"]["fp32_gmac_per_s"] > 0 and report["machine"]["cores"] == os.cpu_count()
    text = engine_text(report)
    assert "plain torch fp32" in text and "FocusStage" in text


def test_video_compares_with_its_parts(
    model: str, make_clip: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=12)
    args = ["bench", "video", str(clip), "--rounds", "1", "--model", model, "--device", "cpu"]
    assert run([*args, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clip"].startswith("12 frames of")
    rows = {row["what"]: row for row in report["rows"]}
    bare = sum(rows[f"bare {part}"]["cpu_ms"] for part in ("decode", "network", "encode"))
    most = 1e3 * (os.cpu_count() or 1) / bare
    assert report["most_frames_per_s"] == pytest.approx(most, rel=0.05)
    assert rows["annotate"]["frames_per_s"] > 0
    assert "most that is possible" in video_text(report)
    assert run(["bench", "video", str(tmp_path / "none.mp4"), "--device", "cpu"]) == 3
