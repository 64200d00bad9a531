"""What `br2focus live` does when its source fails: how soon it reports that, when it runs again, how it ends.

    python -m benchmarks.measure.live_faults [FAULT ...]

The command runs as a user runs it, headless and on the CPU, with a small RTSP server on the loopback
interface (``tests/rtsp_server.py``, one keyframe per second). Times are taken when its lines arrive on stderr
(it checks its state every 0.2 s), or when the process is gone. Every fault is tried `ROUNDS` times. Writes
live_faults.json into benchmarks/results; with names of `FAULTS`, measures and prints only those.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from benchmarks.paths import RESULTS, ROOT
from br2focus.realtime.engine.backends.openvino import cpu_name
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.live.connection import ReconnectPolicy
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.video_info import SourceInfo

ROUNDS = 3
SETTLED = 3.0  # seconds that a source runs before the fault
SOON = 0.7  # seconds in a state before Ctrl-C
PAUSE = 10.0  # seconds that the whole program is stopped
LONG = 20.0  # seconds until a program that should have ended is killed; its exit code is then -9
OPENINGS, WARM = 3000, 1000
# The lines of the command; they begin with the source's name.
RUNNING, FAULT = r": [\d.]+ frames/s", r": (LOST|STALLED|FROZEN) "

Outcome = dict[str, Any]


def _server_module() -> Any:
    """Load the server of the tests, which are not a package."""
    path = ROOT / "tests" / "rtsp_server.py"
    spec = importlib.util.spec_from_file_location("rtsp_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rtsp = _server_module()
Said = Any  # rtsp.Said, which is loaded by its path


def live(port: int, *options: str) -> Said:
    """Start the command with the server on ``port`` as its source."""
    command = [sys.executable, "-m", "br2focus.plugins.cli", "live"]
    command += [f"rtsp://user:secret@127.0.0.1:{port}/x", "--headless", "--device", "cpu", "--json"]
    return rtsp.Said([*command, *options], stream="stderr")


def settled(port: int, *options: str) -> Said:
    """Start the command and return it after it has run for a while."""
    program = live(port, *options)
    program.when(RUNNING)
    time.sleep(SETTLED)
    return program


def interrupt(program: Said) -> float:
    """Press Ctrl-C; return the time."""
    program.process.send_signal(signal.SIGINT)
    return time.monotonic()


def reopened(program: Said) -> int:
    """Return how often the command says that it reopened its source."""
    return int(json.loads(program.other)["reopened"])


def killed(folder: Path) -> Outcome:
    """The server is killed, and restarted 3 s later."""
    with rtsp.serving() as server, settled(rtsp.port_of(server)) as program:
        server.process.kill()
        gone = time.monotonic()
        with rtsp.serving(port=rtsp.port_of(server), after=3.0) as again:
            noticed = program.when(FAULT, since=gone)
            running = program.when(RUNNING, since=noticed)
            back = again.when("^listening")
    return {"noticed_s": noticed - gone, "resumed_s": running - back}


def stalled(folder: Path) -> Outcome:
    """The connection stays, but nothing arrives; a new connection plays."""
    with rtsp.serving("stall") as server, live(rtsp.port_of(server)) as program:
        program.when(RUNNING)
        silent = server.when("^stalled")
        noticed = program.when(FAULT, since=silent)
        running = program.when(RUNNING, since=noticed)
    return {"noticed_s": noticed - silent, "resumed_s": running - noticed}


def lossy(folder: Path) -> Outcome:
    """One RTP packet of 37 is missing, for 10 s."""
    with rtsp.serving("loss") as server, live(rtsp.port_of(server), "--duration", "10") as program:
        code = program.end()
    shown = [int(count) for count in re.findall(r"(\d+) damaged", program.text)]
    return {"exit_code": code, "reopened": reopened(program), "damaged": max(shown, default=0)}


def useless(mode: str) -> Callable[[Path], Outcome]:
    """Return a fault with a server that never gives a picture."""

    def fault(folder: Path) -> Outcome:
        with rtsp.serving(mode) as server, live(rtsp.port_of(server)) as program:
            met = server.when("^accepted")
            code = program.end(LONG)
            asked = server.text.count("DESCRIBE")
        outcome = {"exit_code": code, "exit_s": program.ended - met}
        return outcome | ({"logins": asked} if mode == "401" else {})

    return fault


def interrupted_at_start(folder: Path) -> Outcome:
    """Ctrl-C while Python loads the libraries, which takes seconds."""
    with live(9) as program:
        while "libtorch" not in Path(f"/proc/{program.process.pid}/maps").read_text():
            time.sleep(0.01)
        return _stopped(program, interrupt(program))


def interrupted_connecting(folder: Path) -> Outcome:
    """Ctrl-C while connecting to a server that never answers."""
    with rtsp.serving("silent") as server, live(rtsp.port_of(server)) as program:
        server.when("^accepted")
        time.sleep(SOON)
        return _stopped(program, interrupt(program))


def interrupted_running(folder: Path) -> Outcome:
    """Ctrl-C while pictures arrive and are recorded."""
    take = folder / "take.mkv"
    record = ("--record", str(take), "--force")
    with rtsp.serving() as server, settled(rtsp.port_of(server), *record) as program:
        return _stopped(program, interrupt(program), take)


def interrupted_lost(folder: Path) -> Outcome:
    """Ctrl-C while waiting for a lost source; the recording has what came before."""
    take = folder / "take.mkv"
    record = ("--record", str(take), "--force")
    with rtsp.serving() as server, settled(rtsp.port_of(server), *record) as program:
        server.process.kill()
        program.when(FAULT)
        time.sleep(SOON)
        return _stopped(program, interrupt(program), take)


def _stopped(program: Said, asked: float, take: Path | None = None) -> Outcome:
    """Return how the program ended after Ctrl-C at ``asked``, and how many pictures it recorded."""
    code = program.end()
    outcome = {"exit_code": code, "exit_s": program.ended - asked}
    if "Traceback" in program.text:
        outcome["traceback"] = 1
    if take is not None:
        with av.open(str(take)) as container:
            outcome["recorded"] = sum(1 for _ in container.decode(video=0))
    return outcome


def paused(folder: Path) -> Outcome:
    """The whole program is stopped and continues (a laptop that sleeps)."""
    with rtsp.serving() as server, settled(rtsp.port_of(server)) as program:
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE)
        program.process.send_signal(signal.SIGCONT)
        time.sleep(SETTLED)
        interrupt(program)
        code = program.end()
    return {"exit_code": code, "reopened": reopened(program)}


class Blink(Source):
    """A source that gives one picture and then fails."""

    def __init__(self) -> None:
        self.info = SourceInfo("blink", live=True)

    def __iter__(self) -> Iterator[Frame]:
        image = np.random.default_rng().integers(0, 256, (240, 320, 3), np.uint8)
        yield Frame(image, 0, 0, Fraction(1, 25), time.monotonic())
        raise OSError("gone")


def flapping(folder: Path) -> Outcome:
    """Return what `OPENINGS` openings leave behind in this process, not counting the `WARM` first ones."""
    patience = ReconnectPolicy(first=0.0, longest=0.0, retry_for=60.0)
    source = ReconnectingSource(Blink, "blink", patience)
    before: Outcome = {}
    for frame in source:
        if frame.index == WARM:
            before = _held()
        if frame.index == WARM + OPENINGS:
            source.close()
    after = _held()
    return {key: after[key] - before[key] for key in before}


def _held() -> Outcome:
    """Return what this process holds, after the threads of the last opening have had time to end."""
    time.sleep(0.3)
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "threads": threading.active_count(),
        "fds": len(list(Path("/proc/self/fd").iterdir())),
        "objects": len(gc.get_objects()),
        "mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    }


class Fault(NamedTuple):
    """What happens, how it is measured, what must result in words, and whether one outcome satisfies it."""

    what: str
    measure: Callable[[Path], Outcome]
    must: str
    held: Callable[[Outcome], bool]


def _noticed(outcome: Outcome) -> bool:
    return bool(outcome["noticed_s"] <= 2 and outcome["resumed_s"] <= 1)


def _given_up(outcome: Outcome) -> bool:
    return bool(outcome["exit_code"] in (3, 4) and outcome["exit_s"] <= 5)


def _refused(outcome: Outcome) -> bool:
    # The first login has no password: RTSP sends it only on request.
    return bool(outcome["exit_code"] == 4 and outcome["exit_s"] <= 3 and outcome["logins"] <= 2)


def _left(outcome: Outcome) -> bool:
    recorded = outcome.get("recorded", 1) > 0 and not outcome.get("traceback")
    return outcome["exit_code"] == 130 and outcome["exit_s"] <= 3 and recorded


def _runs_on(outcome: Outcome) -> bool:
    return outcome["exit_code"] in (0, 130) and outcome["reopened"] == 0


NOTICED, GIVEN_UP = "noticed in 2 s, back in 1 s", "exit 3 or 4 in 5 s"
LEFT = "gone in 3 s, exit 130"
RECORDED = f"{LEFT}, recording readable"
FAULTS = {
    "killed": Fault(
        "server killed, started again after 3 s (back: since it listens)", killed, NOTICED, _noticed
    ),
    "stall": Fault(
        "stall: connected, nothing comes (back: since it was noticed)", stalled, NOTICED, _noticed
    ),
    "login": Fault("wrong password (401)", useless("401"), "exit 4 in 3 s, no second try", _refused),
    "loss": Fault(
        "1 of 37 packets lost, for 10 s",
        lossy,
        "runs on, damage is shown",
        lambda outcome: _runs_on(outcome) and outcome["damaged"] > 0,
    ),
    "noise": Fault("random bytes instead of RTSP", useless("noise"), GIVEN_UP, _given_up),
    "garbage": Fault("random bytes instead of H.264", useless("garbage"), GIVEN_UP, _given_up),
    "silent": Fault("silent after accepting", useless("silent"), GIVEN_UP, _given_up),
    "start": Fault("Ctrl-C while it loads", interrupted_at_start, LEFT, _left),
    "connecting": Fault("Ctrl-C while connecting", interrupted_connecting, LEFT, _left),
    "running": Fault("Ctrl-C while running", interrupted_running, RECORDED, _left),
    "lost": Fault("Ctrl-C while lost", interrupted_lost, RECORDED, _left),
    "paused": Fault("program stopped for 10 s (SIGSTOP)", paused, "no fault of the source", _runs_on),
    "flapping": Fault(
        f"{OPENINGS} openings that fail after a picture",
        flapping,
        "no thread or file left, 100 objects and 10 MB at most",
        lambda o: max(o["threads"], o["fds"]) <= 0 and o["objects"] <= 100 and o["mb"] <= 10,
    ),
}


def row(fault: Fault, outcomes: list[Outcome]) -> dict[str, Any]:
    """Return median and worst (largest; smallest if more is better) of every figure, and all exit codes."""
    figures: dict[str, Any] = {}
    for key in dict.fromkeys(key for outcome in outcomes for key in outcome):
        values = [outcome.get(key, 0) for outcome in outcomes]
        if key == "exit_code":
            figures[key] = sorted(set(values))
            continue
        worst = min if key in ("damaged", "recorded") else max
        pair = {"median": statistics.median(values), "worst": worst(values)}
        figures[key] = {name: round(value, 2) for name, value in pair.items()}
    held = all(fault.held(outcome) for outcome in outcomes)
    return {"what": fault.what, **figures, "must": fault.must, "held": held}


def main() -> None:
    """Measure in turns, print, and write the JSON."""
    # A shell that runs this in the background ignores Ctrl-C, which the commands started here would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # also ends the commands started here
    names = sys.argv[1:] or list(FAULTS)
    load = os.getloadavg()[0]
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name in names:
                outcome = FAULTS[name].measure(Path(folder))
                outcomes[name].append(outcome)
                print(name, json.dumps(outcome), flush=True)
    content = {
        "machine": f"{os.cpu_count()} cores, {cpu_name()}, load average {load:.1f} before",
        "rounds": ROUNDS,
        "rows": [row(FAULTS[name], outcomes[name]) for name in names],
    }
    if len(names) == len(FAULTS):
        (RESULTS / "live_faults.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
