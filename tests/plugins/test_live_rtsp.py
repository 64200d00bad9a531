"""`br2focus live` before an RTSP server that is killed, or lets nobody in."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import pytest

SERVER = Path(__file__).parents[1] / "rtsp_server.py"
DARK, BRIGHT = 60, 200
RUNNING = r": [\d.]+ frames/s"


@pytest.fixture(scope="module")
def rtsp() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rtsp_server", SERVER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def live(rtsp: ModuleType, port: int, model: str, *options: str) -> Any:
    command = [sys.executable, "-m", "br2focus.plugins.cli", "live"]
    command += [f"rtsp://user:secret@127.0.0.1:{port}/x", "--headless", "--json"]
    command += ["--model", model, "--device", "cpu", *options]
    return rtsp.Said(command, stream="stderr")


def test_a_recording_goes_on_when_a_killed_server_is_back(
    rtsp: ModuleType, model: str, tmp_path: Path
) -> None:
    take = tmp_path / "out.mkv"
    with rtsp.serving(level=DARK) as server:
        port = rtsp.port_of(server)
        with live(rtsp, port, model, "--record", str(take)) as program:
            program.when(RUNNING)
            time.sleep(1.0)
            server.process.kill()
            killed = time.monotonic()
            with rtsp.serving(port=port, level=BRIGHT) as again:
                lost = program.when(": LOST 00:0", since=killed)
                program.when(RUNNING, since=lost)
                time.sleep(1.0)
                program.process.send_signal(signal.SIGINT)
                assert program.end() == 130
                assert "SETUP RTP/AVP/TCP" in again.text
    assert json.loads(program.other)["reopened"] >= 1
    assert "secret" not in program.text + program.other and "Traceback" not in program.text
    with av.open(str(take)) as container:
        frames = list(container.decode(video=0))
    grey = [float(frame.to_ndarray(format="gray").mean()) for frame in frames]
    bright = [value > (DARK + BRIGHT) / 2 for value in grey]
    assert bright == sorted(bright) and set(bright) == {False, True}, grey
    times = [frame.time for frame in frames]
    assert all(one < two for one, two in pairwise(times))
    first = bright.index(True)
    assert times[first] - times[first - 1] > 0.3, "the gap stays as long as it was"


def test_who_is_refused_asks_no_second_time(rtsp: ModuleType, model: str) -> None:
    with rtsp.serving("401") as server, live(rtsp, rtsp.port_of(server), model) as program:
        assert program.end() == 4
        time.sleep(0.1)
        asked = server.text.count("DESCRIBE")
    assert asked == 2, "without the password, then with it"
    [said] = [line for line in program.text.splitlines() if line.startswith("br2focus:")]
    assert "login refused" in said and "secret" not in program.text + program.other
