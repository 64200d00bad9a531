"""What `br2focus archive` loses when it is killed, and how fast it is compared with `annotate`.

    python -m benchmarks.measure.archive [PART ...]

The command runs as a user runs it, over a folder of rendered clips: once undisturbed; with workers killed
(SIGKILL) again and again; and with the run itself killed at random moments and restarted. Afterwards, every
output must be the same, byte by byte, and the journal must have every input done once. Throughput is measured
on the same folder with `annotate` and with one and two workers, in turns; it is the median of `ROUNDS`. The
last part is an archive of `MANY` files. Writes archive.json into benchmarks/results; with names of `PARTS`,
measures and prints only those.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.paths import RESULTS
from br2focus.realtime.engine.backends.openvino import cpu_name

PROGRAM = [sys.executable, "-m", "br2focus.plugins.cli"]
FILES, FRAMES, SIZE = 40, 24, (640, 360)
KILLS, RUN_KILLS = 100, 20
ROUNDS = 3
MANY = 10_000

Row = dict[str, Any]


def main() -> None:
    """Measure all parts, or only those named."""
    wanted = sys.argv[1:] or list(PARTS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _clips(root / "in")
        _archive(root, "reference")  # it also converts the model and measures the backends
        clips = {"many": "clips of 2 frames"}
        found = {
            name: {
                "machine": f"{os.cpu_count()} cores, {cpu_name()}, "
                f"{clips.get(name, f'{FILES} clips of {FRAMES} frames')} of {SIZE[0]} x {SIZE[1]}",
                "rows": PARTS[name](root),
            }
            for name in wanted
        }
    print(json.dumps(found, indent=2))
    if len(wanted) == len(PARTS):
        (RESULTS / "archive.json").write_text(json.dumps(found, indent=2) + "\n")


def kills(root: Path) -> list[Row]:
    """Measure what is left of an archive whose workers, and whose runs, are killed."""
    return [
        _killed_workers(root, random.Random(1)),
        _killed_runs(root, random.Random(2)),
    ]


def speed(root: Path) -> list[Row]:
    """Measure frames per second of `annotate` and of one and two workers."""
    ways = {
        "annotate": ["annotate", str(root / "in"), "-o", str(root / "plain"), "--force"],
        **{
            f"archive --workers {n}": [
                "archive",
                str(root / "in"),
                "--out",
                str(root / f"w{n}"),
                "--force",
                "--workers",
                str(n),
            ]
            for n in (1, 2)
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, arguments in ways.items():
            begun = time.monotonic()
            subprocess.run([*PROGRAM, *arguments], check=True, stderr=subprocess.DEVNULL)
            seconds[name].append(time.monotonic() - begun)
    frames = FILES * FRAMES
    return [
        {"way": name, "seconds": round(middle, 1), "frames a second": round(frames / middle, 1)}
        for name, middle in ((n, statistics.median(times)) for n, times in seconds.items())
    ]


def many(root: Path) -> list[Row]:
    """Run `MANY` files (links to one clip of two frames, to show the overhead per file) twice."""
    folder, command = root / "many", [*PROGRAM, "archive", str(root / "many"), "--workers", "2"]
    folder.mkdir()
    _clip(root / "tiny.mp4", 0, frames=2)
    for number in range(MANY):
        (folder / f"{number % 100:02}").mkdir(exist_ok=True)
        (folder / f"{number % 100:02}" / f"{number:05}.mp4").hardlink_to(root / "tiny.mp4")
    rows = []
    for what in ("all of them", "once more, all done"):
        begun, most = time.monotonic(), 0
        process = subprocess.Popen(
            [*command, "--out", str(root / "many_out"), "--overlay", "none", "--metrics", "csv"],
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            most = max(most, _kilobytes(process.pid))
            time.sleep(0.1)
        seconds = time.monotonic() - begun
        done = Counter(e["input"] for e in _journal(root / "many_out") if e["event"] == "done")
        rows.append(
            {
                f"{MANY} files": what,
                "seconds": round(seconds, 1),
                "files a second": round(MANY / seconds),
                "MB of the run itself": round(most / 1024),
                "done": len(done),
                "recorded twice": sum(count > 1 for count in done.values()),
            }
        )
    return rows


PARTS: dict[str, Callable[[Path], list[Row]]] = {"kills": kills, "speed": speed, "many": many}


def _clips(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        _clip(folder / f"clip_{number:02}.mp4", number, frames=FRAMES)


def _clip(path: Path, seed: int, *, frames: int) -> None:
    """Write a pattern that moves, and blurs and sharpens everywhere except in a corner that stays sharp."""
    width, height = SIZE
    rng = np.random.default_rng(seed)
    base = cv2.resize(rng.integers(0, 255, (45, 80, 3)).astype(np.uint8), (width, height))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            blurred = cv2.GaussianBlur(np.roll(base, 4 * index, 1), (0, 0), 0.4 + index % 12)
            image = np.asarray(blurred, np.uint8)
            image[: height // 2, : width // 2] = base[: height // 2, : width // 2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))


def _kilobytes(number: int) -> int:
    """Return the memory of a process, 0 if it is gone."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) if found else 0


def _command(root: Path, out: str, *more: str) -> list[str]:
    where = [str(root / "in"), "--out", str(root / out), "--metrics", "csv", "--workers", "2"]
    return [*PROGRAM, "archive", *where, "--retry-failed", *more]


def _archive(root: Path, out: str) -> int:
    return subprocess.run(_command(root, out), stderr=subprocess.DEVNULL, check=False).returncode


def _killed_workers(root: Path, rng: random.Random) -> Row:
    """Run until `KILLS` workers are dead, then undisturbed; what was given up is retried."""
    killed = runs = 0
    while runs == 0 or _archive_is_unfinished(root, "workers"):
        process = subprocess.Popen(_command(root, "workers"), stderr=subprocess.DEVNULL)
        runs += 1
        while process.poll() is None:
            time.sleep(rng.uniform(0.3, 2.0))
            busy = _workers(process)
            if killed < KILLS and busy:
                os.kill(rng.choice(busy), signal.SIGKILL)
                killed += 1
    return _outcome(root, "workers", f"{killed} times a worker, at random moments", runs)


def _killed_runs(root: Path, rng: random.Random) -> Row:
    """Kill `RUN_KILLS` runs at random moments; the last one finishes."""
    for _ in range(RUN_KILLS):
        process = subprocess.Popen(_command(root, "runs"), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 6.0))
        process.kill()
        process.wait()
    _archive(root, "runs")
    return _outcome(
        root, "runs", f"{RUN_KILLS} times the run itself, .5 to 6 s after its start", RUN_KILLS + 1
    )


def _outcome(root: Path, out: str, what: str, runs: int) -> Row:
    wanted, found = _digests(root / "reference"), _digests(root / out)
    entries = _journal(root / out)
    done = Counter(entry["input"] for entry in entries if entry["event"] == "done")
    return {
        "killed": what,
        "runs": runs,
        "outputs": len(found),
        "missing": len(wanted.keys() - found.keys()),
        "different": sum(found[name] != wanted[name] for name in found if name in wanted),
        "left over": len(found.keys() - wanted.keys()),
        "recorded twice": sum(count > 1 for count in done.values()),
        "tried again": sum(entry["event"] == "died" for entry in entries),
    }


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file except the journal."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "archive.jsonl"]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _journal(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "archive.jsonl").read_bytes().splitlines()]


def _archive_is_unfinished(root: Path, out: str) -> bool:
    done = {entry["input"] for entry in _journal(root / out) if entry["event"] == "done"}
    return len(done) < FILES


def _workers(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the process ids of the run's workers."""
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [n for n in map(int, listed.stdout.split()) if b"spawn_main" in _line(n)]


def _line(number: int) -> bytes:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
