"""The four real clips and the forty awkward files, through `br2focus annotate`."""

import csv
import hashlib
import itertools
import json
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from br2focus.plugins.cli import run

SHARED_MEDIA = [
    "m01",
    "m02",
    "m04",
    "m05",
    "m06",
    "m08",
    "m11",
    "m12",
    "m14",
    "m16",
    "m17",
    "m19",
    "m20",
    "m21",
    "m22",
    "m25",
    "m27",
    "m28",
    "m30",
    "m31",
    "m32",
    "m34",
    "m35",
    "m36",
    "m39",
    "m40",
    "m41",
    "m42",
    "m44",
    "m45",
    "m47",
    "m48",
    "m49",
    "m51",
    "m53",
    "m55",
    "m56",
    "m57",
    "m58",
    "m60",
]
TICK = Fraction(1, 10_000)  # finer than a tick of every file of the collection that is an MP4
CLIPS = ["rack_focus_button", "macro_grass", "bedroom_dog", "cockatoo"]


def annotate(source: Path, out: Path, model: str, capsys, *options: str):
    args = ["annotate", str(source), "-o", str(out), "--model", model, "--json", *options]
    code = run(args)
    captured = capsys.readouterr()
    return code, json.loads(captured.out)["inputs"] if captured.out else [], captured.err


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def audio(path: Path) -> list[list[str]]:
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        found: dict[int, list[str]] = {s.index: [] for s in streams}
        for packet in container.demux(streams) if streams else []:
            if packet.size:
                found[packet.stream.index].append(hashlib.sha256(bytes(packet)).hexdigest())
    return list(found.values())


@pytest.mark.parametrize("name", CLIPS)
def test_real_clip_keeps_every_frame_time_and_sound(shared, model, capsys, tmp_path, name):
    source, out = shared / "video" / f"{name}.mp4", tmp_path / "out.mp4"
    code, [entry], _ = annotate(source, out, model, capsys)
    assert code == 0
    assert times(out) == times(source)
    assert audio(out) == audio(source)
    assert entry["audio_streams"] == len(audio(source))


def row_of(shared: Path, number: str) -> dict[str, str]:
    with (shared / "media" / "index.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["id"] == number)


@pytest.mark.parametrize("number", SHARED_MEDIA)
def test_awkward_file_does_what_the_index_says(shared, model, capsys, tmp_path, number):
    row = row_of(shared, number)
    source = shared / "media" / f"{number}_{row['file']}"
    expected, folder = row["expected_product_behaviour"], tmp_path / "out"
    long = number == "m58"  # 21,766 frames
    options = ["--duration", "20"] if long else []
    code, entries, err = annotate(source, folder, model, capsys, *options)
    assert "Traceback" not in err
    if expected.startswith("exit 3"):
        assert code == 3, err
        assert expected.split('"')[1] in err
        assert not folder.exists() or list(folder.iterdir()) == []
        return
    assert code == 0, err
    [entry] = entries
    out = Path(entry["output"])
    written = times(out)
    assert entry["frames"] == len(written)
    assert long or len(written) == int(row["frames"])
    assert all(a < b for a, b in itertools.pairwise(written))
    if "damage counted" in expected:
        assert entry["damaged"] > 0 or entry["repaired_timestamps"] > 0
        code, _, err = annotate(source, tmp_path / "strict", model, capsys, "--strict")
        assert code == 3, err
        assert not list((tmp_path / "strict").glob("*_annotated.m*"))
    if int(row["nonmono_pts"] or 0) or int(row["pts_missing"] or 0):
        assert entry["repaired_timestamps"] > 0
    elif row["outcome"] == "clean":
        wanted = source_times(source)[: len(written)]
        # Times below zero are moved so that the first frame is shown at 0 (note of the index).
        shift = min(wanted[0], 0)
        tick = Fraction(1, 1000) if out.suffix == ".mkv" else TICK
        assert all(abs(a - shift - b) <= tick for a, b in zip(wanted, written, strict=True))


def source_times(path: Path) -> list[Fraction]:
    """Times of the first default video stream, as `VideoFile` chooses it."""
    with av.open(str(path)) as container:
        chosen = [s for s in container.streams.video if s.disposition & Disposition.default]
        stream = (chosen or list(container.streams.video))[0]
        return [f.pts * f.time_base for f in container.decode(stream)]


def test_every_file_of_the_index_is_tested(shared):
    with (shared / "media" / "index.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == SHARED_MEDIA
