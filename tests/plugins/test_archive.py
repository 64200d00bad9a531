"""`br2focus archive`: every input once, whatever is killed, and a journal that tells all of it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest

from br2focus.plugins.cli import run
from br2focus.plugins.cli.archive import worker
from br2focus.plugins.cli.archive import workers as archive_workers
from br2focus.plugins.cli.archive.items import Item, Outputs, find, shortened
from br2focus.plugins.cli.archive.journal import Journal
from br2focus.plugins.cli.archive.worker import DISK_FULL, Event, Task, answer_to
from br2focus.plugins.cli.archive.workers import Workers
from br2focus.plugins.cli.jobs import Job
from br2focus.plugins.cli.request import Request
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.errors import ComputeError, SettingsError, SinkError, SourceError
from br2focus.realtime.overlay_style import OverlayStyle

Result = tuple[int, list[dict[str, Any]], dict[str, Any]]
PROGRAM = [sys.executable, "-m", "br2focus.plugins.cli", "archive"]


@pytest.fixture
def footage(tmp_path: Path, make_clip) -> Path:
    """Two cards with clips of one name, a picture, a file that is no video, and an odd name."""
    root = tmp_path / "footage"
    for card in ("card1", "card2"):
        (root / card).mkdir(parents=True)
        make_clip(root / card / "clip.mp4", frames=6, audio=1)
    make_clip(root / "card1" / "clip.mkv", frames=5)
    cv2.imwrite(str(root / "still.jpg"), np.full((40, 50, 3), 90, np.uint8))
    (root / "card2" / "broken.mp4").write_bytes(b"no video" * 50)
    return root


@pytest.fixture
def command(model: str, footage: Path, tmp_path: Path) -> list[str]:
    """The command of a run over `footage`."""
    where = [str(footage), "--out", str(tmp_path / "out"), "--metrics", "csv", "--json"]
    return [
        *PROGRAM,
        *where,
        "--model",
        model,
        "--device",
        "cpu",
        "--backend",
        "openvino",
        "--precision",
        "fp32",
        "--workers",
        "2",
    ]


def finish(command: list[str]) -> Result:
    """Exit code, events and summary of a run."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    *events, summary = [json.loads(line) for line in done.stdout.splitlines()] or [{}]
    return done.returncode, events, summary


def journal(out: Path) -> list[dict[str, Any]]:
    text = (out / "archive.jsonl").read_bytes() if (out / "archive.jsonl").exists() else b""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def contents(out: Path) -> dict[str, Any]:
    """What every output but the journal shows."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if path.suffix == ".mp4":
            with av.open(str(path)) as container:
                found[name] = [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
        elif path.name not in ("archive.jsonl", "archive.csv"):
            found[name] = path.read_bytes()
    return found


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """Process numbers of the workers."""
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    found = []
    for number in map(int, listed.stdout.split()):
        try:
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
        except OSError:
            pass
    return found


def watch(process: subprocess.Popen[bytes], out: Path) -> Iterator[list[dict[str, Any]]]:
    """The journal again and again until the process ends."""
    while process.poll() is None:
        yield journal(out)
        time.sleep(0.02)


def test_everything_once_and_a_second_run_does_nothing(command, footage, tmp_path):
    code, events, summary = finish(command)
    assert code == 7
    counts = {name: summary[name] for name in ("done", "failed", "skipped", "left")}
    assert counts == {"done": 4, "failed": 1, "skipped": 0, "left": 0}
    assert Counter(event["event"] for event in events) == {
        "begin": 1,
        "started": 5,
        "done": 4,
        "failed": 1,
    }
    [failed] = [event for event in events if event["event"] == "failed"]
    assert failed["input"] == "card2/broken.mp4" and failed["exit"] == 3
    [clip] = [e for e in events if e["event"] == "done" and e["input"] == "card1/clip.mp4"]
    assert clip["frames"] == 6 and clip["audio_streams"] == 1
    assert 0 <= clip["in_focus_share"] <= 1 and 0 <= clip["sharpness"] <= 1
    assert clip["outputs"] == ["card1/clip.mp4_annotated.mp4", "card1/clip.mp4_metrics.csv"]
    before = contents(tmp_path / "out")
    assert len(before) == 8 and [e | {"crc32": 0} for e in journal(tmp_path / "out")] == [
        event | {"crc32": 0} for event in events
    ]
    code, events, summary = finish(command)
    assert code == 7 and [event["event"] for event in events] == ["begin"]
    assert (summary["done"], summary["failed"], summary["skipped"]) == (0, 1, 4)
    assert contents(tmp_path / "out") == before


def test_a_table_has_a_row_for_each(command, tmp_path):
    finish(command)
    with (tmp_path / "out" / "archive.csv").open(newline="") as file:
        rows = {row["input"]: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "card1/clip.mkv": "done",
        "card1/clip.mp4": "done",
        "card2/broken.mp4": "failed",
        "card2/clip.mp4": "done",
        "still.jpg": "done",
    }
    clip, broken = rows["card1/clip.mp4"], rows["card2/broken.mp4"]
    assert float(clip["sharpest_sharpness"]) >= float(clip["sharpness"]) > 0
    assert clip["reference_px"] == "", "this model gives no radii"
    assert clip["outputs"].startswith("card1/clip.mp4_annotated.mp4; ")
    assert "not a readable video" in broken["error"] and broken["sharpness"] == ""
    before = (tmp_path / "out" / "archive.csv").read_bytes()
    finish(command)
    assert (tmp_path / "out" / "archive.csv").read_bytes() == before


def test_figures_alone_of_a_frame_now_and_then(command, tmp_path):
    place = command.index("--metrics")
    command[place : place + 2] = ["--overlay", "none", "--every", "0.1"]
    _, events, summary = finish(command)
    frames = {event["input"]: event["frames"] for event in events if event["event"] == "done"}
    assert frames["card1/clip.mp4"] == 3 and summary["done"] == 4  # at 0, .12 and .2 seconds
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"archive.jsonl", "archive.csv"}
    done = subprocess.run([*command, "--overlay", "heat"], capture_output=True, text=True)
    assert done.returncode == 2 and "--overlay none" in done.stderr


def test_a_disk_that_is_unplugged_is_no_broken_file(command, tmp_path, footage, make_clip):
    make_clip(footage / "card1" / "a_long.mp4", frames=200, size=(640, 480))
    alone = [*command, "--workers", "1"]
    process = subprocess.Popen(alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for entries in watch(process, tmp_path / "out"):
        if any(e.get("input") == "card1/a_long.mp4" for e in entries) and footage.exists():
            footage.rename(tmp_path / "unplugged")
    _, err = process.communicate()
    assert process.returncode == 3 and b"is gone with all that was in it" in err
    assert not [e for e in journal(tmp_path / "out") if e["event"] == "failed"]
    (tmp_path / "unplugged").rename(footage)
    code, _, summary = finish(command)
    assert code == 7 and summary["done"] + summary["skipped"] == 5 and summary["done"] >= 2


def test_only_what_changed_or_is_gone_is_done_again(command, footage, tmp_path, make_clip):
    finish(command)
    make_clip(footage / "card1" / "clip.mkv", frames=9)
    (tmp_path / "out" / "still.jpg_metrics.csv").unlink()
    _, events, summary = finish(command)
    done = {event["input"] for event in events if event["event"] == "done"}
    assert done == {"card1/clip.mkv", "still.jpg"} and summary["skipped"] == 2
    make_clip(footage / "card2" / "broken.mp4", frames=2)  # repaired
    code, _, summary = finish(command)
    assert code == 0 and summary["done"] == 1


def test_what_failed_is_tried_again_when_asked(command):
    finish(command)
    _, events, summary = finish([*command, "--retry-failed"])
    assert [event["event"] for event in events] == ["begin", "started", "failed"]
    assert summary["failed"] == 1 and summary["skipped"] == 4


def test_a_file_that_is_in_the_way_is_not_replaced(command, tmp_path):
    other = tmp_path / "out" / "still.jpg_annotated.png"
    other.parent.mkdir()
    other.write_text("precious")
    code, events, _ = finish(command)
    [failed] = [e for e in events if e["event"] == "failed" and e["input"] == "still.jpg"]
    assert code == 7 and failed["exit"] == 5 and other.read_text() == "precious"
    assert not [e for e in events if e["event"] == "started" and e["input"] == "still.jpg"]
    code, _, summary = finish([*command, "--retry-failed"])
    assert code == 7 and summary["failed"] == 2 and other.read_text() == "precious"
    code, _, summary = finish([*command, "--force"])
    assert summary["done"] == 4 and other.read_text(errors="ignore") != "precious"


def test_other_options_and_a_second_run_beside_the_first_are_refused(command, tmp_path, footage):
    finish(command)
    done = subprocess.run([*command, "--overlay", "mask"], capture_output=True, text=True)
    assert done.returncode == 2 and "another overlay" in done.stderr and "--force" in done.stderr
    with Journal(tmp_path / "out" / "archive.jsonl"):
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "another run" in done.stderr
    elsewhere = footage.rename(tmp_path / "elsewhere")
    command[len(PROGRAM)] = str(elsewhere)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "another folder of inputs" in done.stderr
    code, _, summary = finish([*command, "--moved"])
    assert code == 7 and (summary["done"], summary["skipped"]) == (0, 4)
    elsewhere.rename(footage)
    command[len(PROGRAM)] = str(footage)
    inside = [*command, "--out", str(footage)]
    assert subprocess.run(inside, capture_output=True).returncode == 2


def test_workers_that_are_killed_cost_nothing(command, tmp_path):
    finish(command)
    wanted = contents(tmp_path / "out")
    again = [*command, "--out", str(tmp_path / "second")]
    process = subprocess.Popen(again, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    killed = set()
    for entries in watch(process, tmp_path / "second"):
        for entry in entries:
            key = entry.get("input")
            if entry["event"] == "started" and key not in killed:
                killed.add(key)
                for number in workers(process):
                    os.kill(number, signal.SIGKILL)
    err = process.communicate()[1].decode()
    assert process.returncode == 7 and "SIGKILL" in err, err
    assert len([e for e in journal(tmp_path / "second") if e["event"] == "died"]) >= 2
    assert contents(tmp_path / "second") == wanted


def test_what_kills_its_process_three_times_is_given_up(command, tmp_path, footage, make_clip):
    make_clip(footage / "poison.mp4", frames=400, size=(640, 480))
    alone = [*command, "--workers", "1"]
    process = subprocess.Popen(alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seen = 0
    for entries in watch(process, tmp_path / "out"):
        begun = [e for e in entries if e["event"] == "started" and e["input"] == "poison.mp4"]
        if len(begun) > seen:
            seen = len(begun)
            for number in workers(process):
                os.kill(number, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 7 and seen == 3
    [failed] = [e for e in journal(tmp_path / "out") if e["event"] == "failed" and "poison" in e["input"]]
    assert "3 tries" in failed["error"] and b"3 tries" in err
    assert json.loads(out.splitlines()[-1])["done"] == 4
    assert not list((tmp_path / "out").rglob("poison*"))


def test_a_process_that_stands_still_is_ended(command, tmp_path, footage, make_clip):
    make_clip(footage / "still.mp4", frames=300, size=(640, 480))
    alone = [*command, "--workers", "1", "--stalled", "3"]
    process = subprocess.Popen(alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stopped = False
    for entries in watch(process, tmp_path / "out"):
        if not stopped and any(e.get("input") == "still.mp4" for e in entries):
            stopped = True
            for number in workers(process):
                os.kill(number, signal.SIGSTOP)
    out, err = process.communicate()
    assert stopped and b"SIGKILL" in err
    assert json.loads(out.splitlines()[-1])["done"] == 5


def test_a_run_that_is_killed_goes_on(command, tmp_path):
    finish(command)
    wanted = contents(tmp_path / "out")
    second = tmp_path / "second"
    again = [*command, "--out", str(second)]
    for entries_at in (1, 2, 4, 6):
        process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        number = len(journal(second)) + entries_at
        children: list[int] = []
        for entries in watch(process, second):
            children = workers(process) or children
            if len(entries) >= number:
                process.kill()
        assert process.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{n}/stat").exists() and zombie(n) is False for n in children):
            assert time.monotonic() < deadline, "a worker outlived the run"
            time.sleep(0.02)
        if second.joinpath("archive.jsonl").exists():
            with (second / "archive.jsonl").open("ab") as file:
                file.write(b'{"event": "done", "inp')  # torn off
    code, _, summary = finish(again)
    assert code == 7 and summary["done"] + summary["skipped"] == 4
    assert contents(second) == wanted
    ends = Counter(e["input"] for e in journal(second) if e["event"] == "done")
    assert set(ends.values()) == {1}


def zombie(number: int) -> bool | None:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_leaves_nothing_unfinished(command, tmp_path, footage, make_clip, number, code):
    make_clip(footage / "long.mp4", frames=600, size=(640, 480))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    for entries in watch(process, tmp_path / "out"):
        partial = tmp_path / "out" / "long.mp4_annotated.partial.mp4"
        if any(e.get("input") == "long.mp4" for e in entries) and partial.exists():
            os.killpg(process.pid, number)  # as a terminal does
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert json.loads(out.splitlines()[-1])["left"] >= 1 and b"Traceback" not in err
    assert not [path.name for path in (tmp_path / "out").rglob("*partial*")]
    assert not [path.name for path in (tmp_path / "out").rglob("long*")]


def test_odd_names_links_and_loops(command, footage, tmp_path, make_clip):
    long = "n" * 251 + ".mp4"
    make_clip(footage / "x.mp4", frames=2).rename(footage / long)
    make_clip(footage / "x.mp4", frames=2).rename(footage / os.fsdecode(b"caf\xe9 \n.mp4"))
    (footage / "card1" / "loop").symlink_to(footage)
    outside = tmp_path / "outside"
    outside.mkdir()
    make_clip(outside / "far.mp4", frames=2)
    (footage / "link").symlink_to(outside)
    (footage / "link.mp4").symlink_to(outside / "far.mp4")
    (footage / ".hidden.mp4").write_bytes(b"")
    _, events, summary = finish(command)
    done = [event for event in events if event["event"] == "done"]
    assert summary["done"] == 6 and len({name for e in done for name in e["outputs"]}) == 12
    assert {os.fsencode(e["input"]) for e in done} >= {long.encode(), b"caf\xe9 \n.mp4"}
    for event in done:
        assert all((tmp_path / "out" / name).is_file() for name in event["outputs"])
    assert not any("far" in event["input"] or "link" in event["input"] for event in done)
    _, _, summary = finish(command)
    assert summary["done"] == 0 and summary["skipped"] == 6
    _, events, _ = finish([*command, "--follow"])
    done = {event["input"] for event in events if event["event"] == "done"}
    assert done == {"link/far.mp4", "link.mp4"}


def test_an_unusual_codec_is_decoded_when_it_is_allowed(command, footage, make_clip):
    make_clip(footage / "old.avi", frames=2, codec="rawvideo")
    _, events, _ = finish(command)
    [failed] = [e for e in events if e["event"] == "failed" and e["input"] == "old.avi"]
    assert "--allow-codec rawvideo" in failed["error"] and failed["exit"] == 3
    _, events, _ = finish([*command, "--retry-failed", "--allow-codec", "rawvideo"])
    assert [e["input"] for e in events if e["event"] == "done"] == ["old.avi"]


def test_a_list_of_files(command, footage, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("footage/card1/clip.mp4\n\nfootage/still.jpg\nfootage/gone.mp4\n")
    with listed.open("a") as file:
        file.write(f"{footage}/card2/clip.mp4\n")  # by its whole path
    command[len(PROGRAM)] = str(listed)
    code, events, summary = finish(command)
    assert code == 7 and (summary["done"], summary["failed"]) == (3, 1)
    [failed] = [event for event in events if event["event"] == "failed"]
    assert failed["input"] == "footage/gone.mp4" and "no such file" in failed["error"]
    assert (tmp_path / "out" / "footage" / "card1" / "clip.mp4_annotated.mp4").exists()
    assert (tmp_path / "out" / str(footage)[1:] / "card2" / "clip.mp4_annotated.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["missing"], 3, "no such folder"),
        (["empty"], 3, "no image and no video"),
        (["binary"], 2, "not a list"),
        (["dot"], 2, "dot: line 2: . is a folder"),
        (["root"], 2, "root: line 1: / is a folder"),
        (["above"], 2, "above: line 1: empty/.. is a folder"),
        (["footage", "--workers", "0"], 2, "workers"),
        (["footage", "--model", "none"], 6, "none"),
        (["footage", "--out", "binary"], 5, "folder"),
    ],
)
def test_wrong_calls_are_one_line(footage, tmp_path, monkeypatch, capfd, arguments, code, text):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("binary").write_bytes(b"\0\1\2")
    Path("dot").write_text("\n.\n")
    Path("root").write_text("/\n")
    Path("above").write_text("empty/..\n")
    given = arguments if "--out" in arguments else [*arguments, "--out", "out"]
    assert run(["archive", *given]) == code
    err = capfd.readouterr().err
    assert text in err and len(err.splitlines()) == 1 and "Traceback" not in err


def test_a_run_anew_that_is_killed_goes_on(command, tmp_path):
    finish(command)
    process = subprocess.Popen([*command, "--force"], stdout=subprocess.DEVNULL)
    before = len(journal(tmp_path / "out"))
    for entries in watch(process, tmp_path / "out"):
        if any(entry["event"] == "done" for entry in entries[before:]):
            process.kill()
    code, events, summary = finish(command)
    assert code == 7 and summary["skipped"] >= 1 and summary["done"] + summary["skipped"] == 4
    assert Counter(e["exit"] for e in events if e["event"] == "failed") in ({3: 1}, {})


def test_a_link_does_not_lead_out_of_the_results(command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "card1").symlink_to(tmp_path / "elsewhere")
    _, events, summary = finish(command)
    assert summary["failed"] == 3 and not list((tmp_path / "elsewhere").iterdir())
    assert [e["exit"] for e in events if e["event"] == "failed" and "card1" in e["input"]] == [5, 5]


def test_a_model_that_does_not_compute_ends_the_run(command, tmp_path):
    done = subprocess.run([*command, "--device", "cuda:77"], capture_output=True, text=True)
    assert done.returncode == 6 and "no device" in done.stderr and "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["left"] == 5
    assert finish(command)[2]["done"] == 4


# --- the processes, with others in their place --------------------------------------------------------------


class FakeProcess:
    """Instead of a process, a thread that runs `script` at the other end of the pipe."""

    script = staticmethod(lambda pipe: None)
    made_so_far: ClassVar[list[FakeProcess]] = []

    def __init__(self, request: object, cores: set[int], debug: bool) -> None:
        self.pipe, theirs = Pipe()
        self.task = None
        self.ready = self.proven = False
        self.made = self.heard = time.monotonic()
        self.process = SimpleNamespace(kill=lambda: None)
        self.made_so_far.append(self)
        threading.Thread(target=self._run, args=(theirs,), daemon=True).start()

    def _run(self, theirs) -> None:
        with theirs, suppress(EOFError, OSError):
            type(self).script(theirs)

    def tell(self, task) -> None:
        with suppress(OSError):
            self.pipe.send(task)

    def kill(self) -> None:
        self.pipe.close()

    def why(self) -> str:
        return "it ended"


@pytest.fixture
def crew(monkeypatch, tmp_path):
    """Runs three tasks with the script in place of processes; returns what was told."""

    def work(script, stop=lambda: False) -> list[Event]:
        monkeypatch.setattr(archive_workers, "WorkerProcess", FakeProcess)
        monkeypatch.setattr(FakeProcess, "script", staticmethod(script))
        FakeProcess.made_so_far.clear()
        tasks = iter([Task(name, Job(tmp_path / name, None, None, None)) for name in "abc"])
        told: list[Event] = []
        for event in Workers(REQUEST, count=1).run(tasks, stop=stop):
            told.append(event)
            TOLD[:] = told
        return told

    return work


TOLD: list[Event] = []
REQUEST = Request(
    EngineSettings(), "heat", OverlayStyle(), (), None, "off", "h264", None, False, False, False
)
READY = ("ready", {"notices": ["one notice"]})


def kinds(told: list[Event]) -> str:
    return " ".join(f"{event.kind}:{event.task.name}" for event in told)


def test_tasks_are_done_in_order_and_notices_said_once(crew, capsys):
    def script(pipe) -> None:
        pipe.send(READY)
        while pipe.recv() is not None:
            pipe.send(("frames", {"frames": 1, "expected": None}))
            pipe.send(("done", {}))

    assert kinds(crew(script)) == " ".join(f"started:{n} frames:{n} done:{n}" for n in "abc")
    assert capsys.readouterr().err.count("one notice") == 1


def test_a_full_disk_ends_the_run_and_blames_no_item(crew):
    def script(pipe) -> None:
        pipe.send(READY)
        pipe.recv()
        pipe.send(("failed", {"error": "the disk is full", "exit": 5, "full": True}))
        pipe.recv()

    with pytest.raises(SinkError, match="disk is full"):
        crew(script)
    assert kinds(TOLD) == "started:a"


@pytest.mark.parametrize("number", DISK_FULL)
def test_a_worker_knows_a_full_disk(monkeypatch, tmp_path, number):
    def refuse(*_: object, **__: object) -> None:
        raise SinkError("cannot be written") from OSError(number, "No")

    monkeypatch.setattr(worker, "run_job", refuse)
    task = Task("a", Job(tmp_path / "a.mp4", tmp_path / "a", None, None))
    kind, entry = answer_to(task, None, REQUEST, SimpleNamespace(poll=lambda: False), False)
    assert kind == "failed" and entry["full"] and entry["exit"] == 5


def test_a_process_that_met_a_bug_is_not_used_again(crew):
    def script(pipe) -> None:
        pipe.send(READY)
        while pipe.recv() is not None:
            pipe.send(("failed", {"error": "a bug", "exit": 1}))
            return

    assert kinds(crew(script)) == "started:a failed:a started:b failed:b started:c failed:c"
    assert len(FakeProcess.made_so_far) == 3


def test_processes_that_cannot_be_started_end_the_run(crew):
    with pytest.raises(ComputeError, match="no process can be started"):
        crew(lambda pipe: None)
    assert len(FakeProcess.made_so_far) == archive_workers.STARTS
    with pytest.raises(ComputeError, match="no such model"):
        crew(lambda pipe: pipe.send(("broken", {"error": "no such model"})))


def test_what_is_done_while_the_run_ends_counts(crew):
    asked = threading.Event()

    def script(pipe) -> None:
        pipe.send(READY)
        pipe.recv()
        asked.set()
        assert pipe.recv() is None  # to end
        pipe.send(("done", {}))

    assert kinds(crew(script, stop=asked.is_set)) == "started:a done:a"


# --- the journal and the names ----------------------------------------------------------------------------


def test_a_journal_survives_being_cut_anywhere(tmp_path):
    path = tmp_path / "j.jsonl"
    wanted = [{"event": "done", "input": f"caf\udce9 {n}", "share": n / 7} for n in range(3)]
    with Journal(path) as journal:
        for entry in wanted:
            journal.write(entry)
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        with Journal(path) as journal:
            assert journal.entries == wanted[: data[:cut].count(b"\n")] and not journal.damaged
            journal.write({"event": "next"})
        with Journal(path) as journal:
            assert journal.entries[-1] == {"event": "next"}


def test_a_damaged_line_is_left_out(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            journal.write({"event": "done", "input": str(number)})
    data = bytearray(path.read_bytes())
    place = data.index(b'"1"') + 1
    data[place] = ord("7")
    path.write_bytes(data)
    with Journal(path) as journal:
        assert [e["input"] for e in journal.entries] == ["0", "2"] and journal.damaged == 1


def test_a_journal_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "j.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SinkError):
        Journal(tmp_path / "j.jsonl")
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_something_else_is_not_taken_for_a_journal(tmp_path):
    (tmp_path / "j.jsonl").write_text("my notes, without a line's end")
    with pytest.raises(SettingsError, match="not the journal"):
        Journal(tmp_path / "j.jsonl")
    assert (tmp_path / "j.jsonl").read_text() == "my notes, without a line's end"


def test_names_of_outputs_differ_whatever_the_inputs_are_called(tmp_path):
    names = ["a.mp4", "a.mkv", "a", "n" * 240 + "1", "n" * 240 + "2", "a.mp4_annotated.mp4"]
    outputs = Outputs(tmp_path, draw=True, maps=".npz", metrics=".csv", codec="h264")
    jobs = [outputs.job_of(Item(name, tmp_path / name), replace=False) for name in names]
    found = [p for job in jobs for p in (job.output, job.maps, job.metrics)]
    assert len(set(found)) == 3 * len(names)
    assert all(len(os.fsencode(p.name)) < 230 for p in found if p)
    assert shortened("ä" * 120).startswith("ää") and len(shortened("ä" * 120).encode()) <= 200


def test_what_is_found(tmp_path, make_clip):
    root = tmp_path / "root"
    (root / "locked").mkdir(parents=True)
    make_clip(root / "b.MP4", frames=1)
    make_clip(root / "a.mp4", frames=1)
    make_clip(root / "a_annotated.mp4", frames=1)
    (root / "notes.txt").write_text("x")
    (root / "out").mkdir()
    make_clip(root / "out" / "c.mp4", frames=1)
    found = find(root, root / "out", follow=False)
    assert [item.name for item in found.items] == ["a.mp4", "b.MP4"]
    assert (found.links, found.ours) == (0, 1)
    (root / "out" / "archive.jsonl").write_text("")
    assert find(root, tmp_path / "other", follow=False).items == found.items
    with pytest.raises(SourceError):
        find(tmp_path / "nothing", root / "out", follow=False)
    (tmp_path / "big").write_bytes(b"\0")
    with pytest.raises(SettingsError):
        find(tmp_path / "big", root / "out", follow=False)
