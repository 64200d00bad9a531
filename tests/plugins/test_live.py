"""`br2focus live --headless` and `br2focus cameras` as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import pytest

from br2focus.plugins.cli import run
from br2focus.realtime.sources.live.camera import CameraInfo
from br2focus.realtime.sources.live.controls import CameraControls, Control, Format

KEYS = {
    "source",
    "frames",
    "frames_per_second",
    "dropped",
    "reopened",
    "damaged",
    "repaired_timestamps",
    "age_ms",
    "model",
    "device",
    "reference_px",
}


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
    assert run([*args, "--compile"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert err.count("br2focus: torch.compile is for a GPU: left out") == 1
    assert 1 <= summary["frames"] + summary["dropped"] <= 25


def test_a_file_cut_short_says_so(
    model: str, tmp_path: Path, make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=40, container={"movflags": "faststart"})
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 6 // 10])
    args = ["live", str(clip), "--headless", "--model", model, "--device", "cpu", "--json"]
    assert run(args) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["damaged"] > 0
    assert "br2focus: truncated: " in err


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["test"], 2, "no screen here: add --headless"),
        (["test", "--preset", "gone", "--headless"], 2, "gone.toml"),
        (["0", "--camera-mode", "huge", "--headless"], 2, "1280x720@30:MJPG"),
        (["clip.mp4"], 3, "clip.mp4: no such file"),
        (["7", "--headless"], 4, "camera 7: not there"),
        (["rtsp://me:secret@127.0.0.1:9/x", "--headless"], 4, "nobody answers there"),
        (["http://127.0.0.1:9/x", "--headless"], 2, "needs --allow-web"),
        (["rstp://me:secret@cam/x", "--headless"], 2, "not one of rtsp"),
        (["clip.mp4", "--headless"], 3, "clip.mp4"),
        (["test", "--headless", "--record", "out.txt"], 2, "out.txt"),
    ],
)
def test_one_line_says_what_is_wrong(
    args: list[str],
    code: int,
    text: str,
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
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
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            assert "CONNECTING" in process.stderr.readline()
            process.send_signal(number)
            assert process.wait(60) == 128 + number


def test_cameras_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from br2focus.plugins.cli import cameras

    found = [CameraInfo(4, "Cam Link 4K", "/dev/v4l/by-id/c", "/dev/video4", 200)]
    monkeypatch.setattr(cameras, "list_cameras", lambda: found)
    formats = (
        Format("MJPG", 1920, 1080, (Fraction(60000, 1001), Fraction(30))),
        Format("Y16", 64, 48, ()),
    )
    focus = Control("focus", 0, 250, 5, 0, 30, False)
    monkeypatch.setattr(cameras, "list_formats", lambda device: formats)
    monkeypatch.setattr(CameraControls, "list", lambda self: (focus,))
    assert run(["cameras"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4: Cam Link 4K",
        "   id /dev/v4l/by-id/c",
        "   MJPG 1920 x 1080 at 59.94, 30 frames/s",
        "   Y16 64 x 48 at unknown frames/s",
        "   focus 30 (0 to 250 in steps of 5, default 0; not settable now)",
    ]
    assert run(["cameras", "--json"]) == 0
    [camera] = json.loads(capsys.readouterr().out)["cameras"]
    assert camera["index"] == 4 and camera["id"] == "/dev/v4l/by-id/c" and camera["error"] is None
    assert camera["controls"] == [asdict(focus)]
    assert camera["formats"][0]["rates"] == [pytest.approx(59.94, abs=0.001), 30.0]
    monkeypatch.undo()
    gone = CameraInfo(9, "Gone", "/dev/video99", "/dev/video99", 200)
    monkeypatch.setattr(cameras, "list_cameras", lambda: [gone])
    assert run(["cameras"]) == 0
    assert "   /dev/video99: is gone; unplugged?\n" in capsys.readouterr().out
    monkeypatch.setattr(cameras, "list_cameras", list)
    assert run(["cameras"]) == 0 and "no camera" in capsys.readouterr().out


def in_window(model: str, *more: str) -> subprocess.Popen[str]:
    """The command with its window off the screen, in a process of its own."""
    command = [sys.executable, "-m", "br2focus.plugins.cli", "live", "test", *more]
    command += ["--model", model, "--device", "cpu"]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_window_records_from_its_first_picture_and_closes_by_itself(model: str, tmp_path: Path) -> None:
    video, table = tmp_path / "take.mp4", tmp_path / "take.csv"
    args = ["--duration", "2", "--record", str(video), "--metrics", str(table)]
    with in_window(model, *args, "--roi", "a=10,10,50,50", "--overlay", "heat") as process:
        assert process.wait(90) == 0, process.stderr
    with av.open(str(video)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == len(table.read_text().splitlines()) - 1 > 3
    assert "a_sharpness" in table.read_text() and list(tmp_path.glob("*.partial*")) == []
    with in_window(model, *args) as process:
        assert process.wait(90) == 5, "what exists is not replaced"
        assert process.stderr is not None and "exists" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window_and_keeps_the_recording(number: int, model: str, tmp_path: Path) -> None:
    video = tmp_path / "take.mkv"
    with in_window(model, "--record", str(video)) as process:
        partial = tmp_path / "take.partial.mkv"
        until = time.monotonic() + 60
        while time.monotonic() < until and not (partial.exists() and partial.stat().st_size):
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


def test_a_preset_sets_the_view_and_options_go_first(
    model: str, tmp_path: Path, make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    preset, table = tmp_path / "mine.toml", tmp_path / "take.csv"
    preset.write_text(f"""overlay = "mask"
smoothing = "off"
model = "{model}"
rois = [{{name = "left", x = 0, y = 0, width = 20, height = 20}}]
""")
    clip = make_clip(tmp_path / "clip.mp4", frames=5, size=(64, 48))
    args = ["live", str(clip), "--headless", "--device", "cpu", "--preset", str(preset), "--json"]
    assert run([*args, "--metrics", str(table)]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "random"
    assert "left_sharpness" in table.read_text()
    assert run([*args, "--model", "nothing"]) == 6
