"""`br2focus live --headless` and `br2focus cameras` as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from br2focus.plugins.cli import run
from br2focus.realtime.camera import CameraInfo

KEYS = {"source", "frames", "frames_per_second", "dropped", "reopened", "age_ms", "model", "device"}


def test_the_built_in_test_is_recorded(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, table = tmp_path / "take.mp4", tmp_path / "take.csv"
    args = ["live", "test", "--headless", "--model", model, "--device", "cpu", "--duration", "3"]
    args += ["--record", str(video), "--metrics", str(table), "--roi", "middle=200,100,200,200"]
    assert run([*args, "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert set(summary) == KEYS and summary["source"] == "test" and summary["frames"] > 3
    assert "frames/s" in err and "age" in err
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == summary["frames"] == len(table.read_text().splitlines()) - 1
    assert (frames[0].width, frames[0].height) == (640, 480)
    assert list(tmp_path.glob("*.partial*")) == []
    assert run(args) == 5, "what exists is not replaced"


def test_a_file_plays_at_its_own_pace(
    model: str, tmp_path: Path, make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=25, size=(64, 48))
    args = ["live", str(clip), "--headless", "--model", model, "--device", "cpu", "--json"]
    assert run(args) == 0
    summary = json.loads(capsys.readouterr().out)
    assert 1 <= summary["frames"] + summary["dropped"] <= 25


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["test"], 2, "add --headless"),
        (["7", "--headless"], 4, "camera 7: not there"),
        (["rtsp://me:secret@127.0.0.1:9/x", "--headless"], 4, "nobody answers there"),
        (["http://127.0.0.1:9/x", "--headless"], 2, "needs --allow-web"),
        (["rstp://me:secret@cam/x", "--headless"], 2, "not one of rtsp"),
        (["clip.mp4", "--headless"], 3, "clip.mp4"),
        (["test", "--headless", "--record", "out.txt"], 2, "out.txt"),
    ],
)
def test_one_line_says_what_is_wrong(
    args: list[str], code: int, text: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", *args, "--model", model, "--device", "cpu"]) == code
    err = capsys.readouterr().err
    said = [line for line in err.splitlines() if line.startswith("br2focus:")]
    assert len(said) == 1 and text in said[0] and "secret" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_nothing_comes(number: int, model: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        silent.close()
        command = [sys.executable, "-m", "br2focus.plugins.cli", "live", f"udp://127.0.0.1:{port}"]
        command += ["--headless", "--retry-for", "600", "--model", model, "--device", "cpu"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stderr is not None
            assert "CONNECTING" in process.stderr.readline()
            process.send_signal(number)
            assert process.wait(60) == 128 + number


def test_cameras_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from br2focus.plugins.cli import cameras

    found = [CameraInfo(4, "Cam Link 4K", "/dev/v4l/by-id/c", "/dev/video4", 200)]
    monkeypatch.setattr(cameras, "list_cameras", lambda: found)
    assert run(["cameras"]) == 0
    assert capsys.readouterr().out == "4: Cam Link 4K\n   id /dev/v4l/by-id/c\n"
    assert run(["cameras", "--json"]) == 0
    [camera] = json.loads(capsys.readouterr().out)["cameras"]
    assert camera["index"] == 4 and camera["id"] == "/dev/v4l/by-id/c"
    monkeypatch.setattr(cameras, "list_cameras", list)
    assert run(["cameras"]) == 0 and "no camera" in capsys.readouterr().out
