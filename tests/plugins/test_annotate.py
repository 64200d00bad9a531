"""`br2focus annotate` as a user calls it: outputs, names, options, summary, exit codes."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from br2focus.plugins.cli import run
from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.frame import Roi
from br2focus.realtime.overlay_style import KINDS, OverlayStyle
from br2focus.realtime.presets import preset_path, save_preset
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.video_file import VideoFile

KEYS = {
    "input",
    "output",
    "frames",
    "seconds",
    "fps",
    "audio_streams",
    "damaged",
    "repaired_timestamps",
    "model",
    "device",
}


@pytest.fixture
def annotate(model, capsys):
    """Runs the command with the small model; returns exit code, the JSON entries and stderr."""

    def call(*args: object, json_out: bool = True):
        extra = ["--json"] if json_out else []
        code = run(["annotate", *map(str, args), "--model", model, "--device", "cpu", *extra])
        captured = capsys.readouterr()
        entries = json.loads(captured.out)["inputs"] if captured.out and json_out else []
        return code, entries, captured.err

    return call


def audio(path: Path) -> list[list[str]]:
    """Digests of the packets of every audio stream."""
    with av.open(str(path)) as container:
        found: dict[int, list[str]] = {s.index: [] for s in container.streams.audio}
        for packet in container.demux(list(container.streams.audio)):
            if packet.size:
                found[packet.stream.index].append(hashlib.sha256(bytes(packet)).hexdigest())
    return list(found.values())


def times(path: Path) -> list:
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def test_a_video_keeps_frames_times_and_sound(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=12, audio=2, vfr=True)
    code, [entry], _ = annotate(clip)
    out = tmp_path / "clip_annotated.mp4"
    assert code == 0 and entry.keys() >= KEYS
    assert entry["output"] == str(out) and entry["frames"] == 12 and entry["audio_streams"] == 2
    assert times(out) == times(clip)
    assert audio(out) == audio(clip)
    assert entry["device"].startswith("cpu (") and entry["model"] == "random"


@pytest.mark.parametrize("overlay", KINDS)
def test_every_overlay(annotate, make_clip, tmp_path, overlay):
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    code, [entry], _ = annotate(clip, "-o", tmp_path / "out.mp4", "--overlay", overlay)
    assert code == 0 and entry["frames"] == 2
    with av.open(entry["output"]) as container:
        wide, before = container.streams.video[0].width, av.open(str(clip)).streams.video[0].width
    assert wide == before * (2 if overlay == "side-by-side" else 1)


def test_maps_equal_the_opencv_stage_without_smoothing(annotate, make_clip, model, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", frames=3, pix_fmt="yuv420p")
    code, [entry], _ = annotate(
        clip,
        "--overlay",
        "none",
        "--maps",
        tmp_path / "maps",
        "--smoothing",
        "off",
        "--refine",
        "off",
    )
    assert code == 0 and entry["output"] is None
    stored = sorted((tmp_path / "maps").iterdir())
    with FocusStage(model, device="cpu") as stage, VideoFile(clip) as source:
        for path, frame in zip(stored, source, strict=True):
            levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(levels, np.rint(stage(frame.image).blur * 65535))
    assert len(list((tmp_path / "maps").iterdir())) == 3


def test_radii_are_written_beside_the_maps(detail_model, make_clip, tmp_path, capsys):
    clip, maps = make_clip(tmp_path / "clip.mp4", frames=3, size=(160, 90)), tmp_path / "maps.npz"
    arguments = ["annotate", clip, "--overlay", "none", "--maps", maps, "--radii", "--json"]
    options = ["--model", detail_model, "--device", "cpu", "--backend", "torch"]
    assert run([*map(str, arguments), *options]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"][0]["reference_px"] > 0
    with np.load(maps) as file:
        assert file["radius_000002"].shape == file["blur_000002"].shape == (90, 160)
        assert file["radius_000002"].dtype == np.float16 and (file["radius_000002"] > 0).all()
    assert run([*map(str, arguments[:5]), str(tmp_path / "m.mkv"), "--radii", *options]) == 2
    assert "npz file alone" in capsys.readouterr().err


def test_metrics_with_rois(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    code, _, _ = annotate(clip, "--metrics", tmp_path / "m.csv", "--roi", "eye=2,2,8,8")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert code == 0 and len(lines) == 4 and lines[0].endswith("eye_sharpness")


def test_metrics_do_not_depend_on_what_is_drawn_and_smoothed(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=8)
    annotate(clip, "--metrics", tmp_path / "drawn.csv")
    annotate(clip, "--metrics", tmp_path / "alone.csv", "--overlay", "none")
    assert (tmp_path / "alone.csv").read_bytes() == (tmp_path / "drawn.csv").read_bytes()


def test_one_frame_in_so_many_seconds(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=25)
    code, [entry], _ = annotate(clip, "--metrics", tmp_path / "m.csv", "--overlay", "none", "--every", 0.4)
    rows = (tmp_path / "m.csv").read_text().splitlines()[1:]
    assert code == 0 and entry["frames"] == 3
    assert [row.split(",")[0] for row in rows] == ["0", "10", "20"]
    code, _, err = annotate(clip, "--every", 0.4)
    assert code == 2 and "--overlay none" in err


def test_an_image_and_a_folder_of_both(annotate, make_clip, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "photo.jpg"), np.full((40, 50, 3), 90, np.uint8))
    make_clip(folder / "clip.mp4", frames=2)
    code, entries, _ = annotate(folder, "-o", tmp_path / "out")
    assert code == 0 and [e["frames"] for e in entries] == [2, 1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip_annotated.mp4",
        "photo_annotated.png",
    ]
    assert cv2.imread(str(tmp_path / "out" / "photo_annotated.png")).shape == (40, 50, 3)


def test_a_folder_keeps_its_sub_folders_and_leaves_out_what_was_written(annotate, make_clip, tmp_path):
    for name in ("card1", "card2"):
        (tmp_path / "in" / name).mkdir(parents=True)
        make_clip(tmp_path / "in" / name / "c.mp4", frames=2)
    make_clip(tmp_path / "in" / "card1" / "c.mkv", frames=2)
    for _ in range(2):
        code, entries, _ = annotate(tmp_path / "in", "--force")
        assert code == 0 and len(entries) == 3
    code, _, _ = annotate(tmp_path / "in", "-o", tmp_path / "out", "--metrics", tmp_path / "m.csv")
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "m-card1-c.mkv.csv",
        "m-card1-c.mp4.csv",
        "m-card2-c.csv",
    ]
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.mp4"))
    assert code == 0
    assert names == [
        "card1/c.mkv_annotated.mp4",
        "card1/c.mp4_annotated.mp4",
        "card2/c_annotated.mp4",
    ]


def test_an_output_that_is_another_input_is_refused(annotate, make_clip, tmp_path):
    one = make_clip(tmp_path / "clip.mp4", frames=2)
    two = make_clip(tmp_path / "clip_annotated.mp4", frames=2)
    code, _, err = annotate(one, two, "--force")
    assert code == 2 and "is an input" in err


def test_start_and_duration(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=30)
    code, [entry], _ = annotate(clip, "--start", 0.2, "--duration", 0.4)
    assert code == 0 and 8 <= entry["frames"] <= 16


def test_failing_inputs_do_not_stop_the_others_and_each_is_said(model, make_clip, tmp_path, capsys):
    bad = [tmp_path / "bad.mp4", tmp_path / "worse.mp4"]
    for path in bad:
        path.write_bytes(b"no video" * 50)
    good = make_clip(tmp_path / "good.mp4", frames=2)
    paths = [str(path) for path in (bad[0], good, bad[1])]
    assert run(["annotate", *paths, "--model", model, "--device", "cpu", "--json"]) == 3
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert [entry["frames"] for entry in summary["inputs"]] == [2]
    assert [entry["input"] for entry in summary["failed"]] == [paths[0], paths[2]]
    for path, entry in zip(bad, summary["failed"], strict=True):
        assert entry["exit"] == 3 and "not a readable video" in entry["error"]
        assert f"br2focus: {entry['error']}\n" in err and str(path) in entry["error"]
        assert not path.with_name(f"{path.stem}_annotated.mp4").exists()
    assert lines(err)[-1] == "br2focus: 1 done, 2 failed, 0 not begun"


def test_what_the_viewer_saved_is_drawn(annotate, make_clip, tmp_path, monkeypatch):
    monkeypatch.setenv("BR2FOCUS_CONFIG", str(tmp_path / "config"))
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    style = OverlayStyle(colour=(255, 0, 255), ground="alone")
    saved = ViewSettings(overlay="outline", style=style, rois=(Roi("eye", 2, 2, 8, 8),), size=96)
    save_preset(saved, preset_path("mine"))
    out = tmp_path / "clip_annotated.mp4"
    options = ["--preset", "mine", "--no-legend", "--metrics", tmp_path / "m.csv", "--force"]
    assert annotate(clip, *options)[0] == 0
    assert "eye_sharpness" in (tmp_path / "m.csv").read_text()
    black = [(frame.image.max(axis=2) < 20).mean() for frame in VideoFile(out)]
    assert min(black) > 0.5  # a line on black
    assert annotate(clip, *options, "--overlay", "none", "-o", out)[0] == 0
    assert next(iter(VideoFile(out))).image.mean() > 20
    code, _, err = annotate(clip, "--preset", "other")
    assert code == 2 and "other.toml" in err


def lines(err: str) -> list[str]:
    return err.strip().splitlines()


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--overlay", "fog"], 2, "fog"),
        (["--roi", "nothing"], 2, "NAME=x,y,w,h"),
        (["--size", "7"], 2, "64 to 2048"),
        (["--smoothing", "soon"], 2, "off"),
        (["--smoothing", "look-ahead:99"], 2, "1 to 30"),
        (["--crf", "9", "--codec", "ffv1"], 2, "CRF"),
        (["--metrics", "m.xls"], 2, ".parquet"),
        (["-o", "missing/folder/out.mp4"], 5, "folder"),
        (["-o", "out.avi"], 2, ".mkv"),
        (["--device", "cuda:77"], 6, "no device"),
        (["--stream", "5"], 3, "stream"),
        (["--roi", "far=5000,5000,5,5", "--metrics", "m.csv"], 2, "outside"),
    ],
)
def test_wrong_options_are_one_line(make_clip, model, tmp_path, monkeypatch, capsys, options, code, text):
    monkeypatch.chdir(tmp_path)
    make_clip(Path("clip.mp4"), frames=2)
    before = sorted(Path().iterdir())
    assert run(["annotate", "clip.mp4", "--model", model, *options]) == code
    err = capsys.readouterr().err
    assert text in err and len(lines(err)) == 1 and "Traceback" not in err
    assert sorted(Path().iterdir()) == before


def test_missing_input_and_missing_model(capsys, make_clip, tmp_path):
    assert run(["annotate", str(tmp_path / "none.mp4")]) == 3
    assert "no such file" in capsys.readouterr().err
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    assert run(["annotate", str(clip), "--model", "big"]) == 6
    assert "lite" in capsys.readouterr().err


def test_outputs_are_not_replaced_without_force_and_inputs_never(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    assert annotate(clip, "-o", out)[0] == 5 and out.read_text() == "precious"
    assert annotate(clip, "-o", out, "--force")[0] == 0
    assert annotate(clip, "-o", clip, "--force")[0] in (2, 5)
    assert hashlib.sha256(clip.read_bytes()).hexdigest() == digest


def test_two_inputs_with_one_output_are_refused(annotate, make_clip, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = make_clip(tmp_path / "a" / "clip.mp4", frames=2)
    two = make_clip(tmp_path / "b" / "clip.mp4", frames=2)
    code, _, err = annotate(one, two, "-o", tmp_path / "out")
    assert code == 2 and "same output" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_finishes_the_file(make_clip, model, tmp_path, number, code):
    clip = make_clip(tmp_path / "clip.mp4", frames=600, size=(640, 480))
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "br2focus.plugins.cli", "annotate", str(clip), "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--model", model, "--overlay", "side-by-side"], stderr=subprocess.PIPE
    )
    partial = tmp_path / "out.partial.mp4"
    while not (partial.exists() and partial.stat().st_size > 10_000) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    err = process.communicate(timeout=120)[1].decode()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert 0 < len(times(out)) < 600 and not partial.exists()
    assert f"stopped after {len(times(out))} of 600 frames; the rest is missing" in err


def test_a_second_run_on_the_cpu_imports_neither_torch_nor_kornia(model, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=1)
    args = ["annotate", str(clip), "-o", str(tmp_path / "out.mp4"), "--model", model, "--force"]
    assert run([*args, "--device", "cpu"]) == 0  # converts the network, which needs PyTorch
    code = f"""
import sys
from br2focus.plugins.cli import run
code = run({args!r})
heavy = ("torch", "torchvision", "kornia", "matplotlib", "pydantic", "PyQt6", "pyarrow")
print(code, [name for name in heavy if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n", done.stderr


@pytest.mark.parametrize("command", ["annotate", "live"])
def test_help_shows_values_as_they_are_typed(capsys, command):
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--smoothing adaptive|look-ahead[:FRAMES]|SECONDS|off" in shown
    assert "--roi NAME=x,y,w,h" in shown


def test_help_imports_nothing_heavy():
    code = """
import sys
from br2focus.plugins.cli import run
run(["--help"])
heavy = ("torch", "numpy", "cv2", "av", "openvino")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n" and "annotate" in done.stdout


def test_a_process_that_ends_at_once_ends_well(tmp_path: Path) -> None:
    (tmp_path / "odd.mp4").write_bytes(b"odd" * 1000)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-m", "br2focus.plugins.cli", "annotate", tmp_path / "odd.mp4"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_is_for_a_gpu_is_left_out_on_a_cpu(annotate, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    code, [entry], said = annotate(clip, "--compile", "--gpu-decode")
    assert code == 0 and entry["frames"] == 3
    for what in ("torch.compile", "--gpu-decode"):
        assert f"br2focus: {what} is for a GPU: left out\n" in said
