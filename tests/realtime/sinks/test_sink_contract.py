"""What holds for every sink: complete under the final name, or nothing there."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet
import pytest

from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.images import ImageFileWriter, ImageFolderWriter
from br2focus.realtime.sinks.maps import MapWriter
from br2focus.realtime.sinks.metrics import MetricsWriter
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.video_info import SourceInfo

INFO = SourceInfo(name="test", rate=Fraction(25))


def results(count: int) -> Iterable[FocusResult]:
    for index in range(count):
        image = np.full((24, 32, 3), index * 9, np.uint8)
        blur = np.full((24, 32), index / 64, np.float32)
        yield FocusResult(Frame(image, index, index, Fraction(1, 25), 0.0), BlurMap(blur))


def picture(result: FocusResult) -> np.ndarray:
    return result.frame.image


def video_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def rows(path: Path) -> int:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return len(list(csv.DictReader(file)))
    if path.suffix == ".jsonl":
        return len([json.loads(line) for line in path.read_text().splitlines()])
    return pyarrow.parquet.read_table(path).num_rows


def arrays(path: Path) -> int:
    with np.load(path) as file:
        return sum(name.startswith("blur_") for name in file.files)


def pictures(folder: Path) -> int:
    return sum(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None for path in folder.iterdir())


@dataclass(frozen=True)
class Kind:
    name: str
    make: Callable[..., FileSink]
    count: Callable[[Path], int]
    most: int = 5


KINDS = [
    *(
        Kind(f"video{suffix}", lambda p, **o: VideoWriter(p, INFO, render=picture, **o), video_frames)
        for suffix in (".mp4", ".mov", ".mkv")
    ),
    Kind("folder", lambda p, **o: ImageFolderWriter(p, render=picture, **o), pictures),
    Kind("picture.jpg", lambda p, **o: ImageFileWriter(p, render=picture, **o), lambda p: 1, most=1),
    Kind("maps", lambda p, **o: MapWriter(p, INFO, **o), pictures),
    Kind("maps.npz", lambda p, **o: MapWriter(p, INFO, **o), arrays),
    Kind("maps.mkv", lambda p, **o: MapWriter(p, INFO, **o), video_frames),
    *(Kind(f"m{suffix}", MetricsWriter, rows) for suffix in (".csv", ".jsonl", ".parquet")),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@every_kind
def test_close_makes_the_output_with_every_item(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    with kind.make(path) as sink:
        for result in results(kind.most):
            sink.write(result)
            assert not path.exists()
    assert kind.count(path) == kind.most
    assert [item.name for item in tmp_path.iterdir()] == [kind.name]
    sink.close()
    sink.abort()
    assert kind.count(path) == kind.most


@every_kind
def test_a_path_may_be_text(kind: Kind, tmp_path: Path) -> None:
    with kind.make(str(tmp_path / kind.name)) as sink:
        for result in results(kind.most):
            sink.write(result)
    assert kind.count(tmp_path / kind.name) == kind.most and sink.path == tmp_path / kind.name


@every_kind
def test_an_exception_leaves_nothing_under_the_final_name(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    sink = kind.make(path)

    def job() -> None:
        with sink:
            for result in results(kind.most):
                sink.write(result)
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        job()
    assert not path.exists()
    left = [item for item in tmp_path.iterdir() if ".partial" not in item.name]
    assert not left
    assert (sink.kept is not None) == any(tmp_path.iterdir())


@every_kind
def test_abort_before_the_first_result_leaves_nothing(kind: Kind, tmp_path: Path) -> None:
    sink = kind.make(tmp_path / kind.name)
    sink.abort()
    sink.abort()
    assert not any(tmp_path.iterdir())


@every_kind
def test_the_first_error_comes_again(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = kind.make(tmp_path / kind.name)
    result = next(iter(results(1)))

    def fail(result: FocusResult) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink, "_write", fail)
    with pytest.raises(SinkError, match="disk is full") as first:
        sink.write(result)
    monkeypatch.undo()
    for call in (lambda: sink.write(result), sink.close, sink.close):
        with pytest.raises(SinkError) as again:
            call()
        assert again.value is first.value
    assert not (tmp_path / kind.name).exists()


@every_kind
def test_write_after_close_is_refused(kind: Kind, tmp_path: Path) -> None:
    (result,) = results(1)
    with kind.make(tmp_path / kind.name) as sink:
        sink.write(result)
    with pytest.raises(ValueError, match="after close"):
        sink.write(result)


@every_kind
def test_an_existing_output_is_replaced_only_when_allowed(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    old = path / "000000.png" if not path.suffix else path
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    with pytest.raises(SinkError, match="exists"):
        kind.make(path)
    assert old.read_bytes() == b"old"
    with kind.make(path, overwrite=True) as sink:
        for result in results(kind.most):
            sink.write(result)
        assert old.read_bytes() == b"old"
    assert kind.count(path) == kind.most


@every_kind
def test_a_bad_place_is_refused_before_the_first_result(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    long = f"{'n' * 260}{Path(kind.name).suffix}"
    for place, reason in (
        (tmp_path / "no" / kind.name, "does not exist"),
        (tmp_path / "file" / kind.name, "is a file"),
        (tmp_path / long, "too long"),
    ):
        with pytest.raises(SinkError, match=reason) as caught:
            kind.make(place)
        assert "\n" not in str(caught.value)
    wrong = tmp_path / kind.name
    wrong.mkdir() if wrong.suffix else wrong.write_text("")
    with pytest.raises(SinkError, match="choose another name"):
        kind.make(wrong, overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@every_kind
def test_a_read_only_folder_is_refused(kind: Kind, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SinkError, match="no permission"):
            kind.make(tmp_path / kind.name)
    finally:
        tmp_path.chmod(0o700)


@every_kind
def test_a_name_in_use_is_refused_and_a_stale_one_taken(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    first = kind.make(path)
    with pytest.raises(SinkError, match="another run"):
        kind.make(path)
    first.abort()
    stale = Output(path, folder=not path.suffix)
    garbage = stale.temporary / "old.png" if not path.suffix else stale.temporary
    garbage.write_bytes(b"x" * 100_000)
    stale.release()
    with kind.make(path) as sink:
        for result in results(1):
            sink.write(result)
    assert kind.count(path) == 1
    assert [item.name for item in tmp_path.iterdir()] == [kind.name]


def test_pictures_are_the_rendered_ones_under_the_given_names(tmp_path: Path) -> None:
    with ImageFolderWriter(
        tmp_path / "out", render=picture, name=lambda result: f"p{result.frame.index}"
    ) as sink:
        for result in results(3):
            sink.write(result)
    found = cv2.imread(str(tmp_path / "out" / "p2.png"))
    assert (found == 18).all()


def test_two_pictures_of_one_name_are_an_error(tmp_path: Path) -> None:
    first, second = results(2)
    sink = ImageFolderWriter(tmp_path / "out", render=picture, name=lambda result: "same")
    sink.write(first)
    with pytest.raises(SinkError, match="two pictures"):
        sink.write(second)
    sink.abort()
    assert not any(tmp_path.iterdir())


def test_a_folder_keeps_files_of_other_names(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with ImageFolderWriter(folder, render=picture, overwrite=True) as sink:
        for result in results(2):
            sink.write(result)
    names = sorted(item.name for item in folder.iterdir())
    assert names == ["000000.png", "000001.png", "notes.txt"]


def test_a_picture_file_holds_one_result(tmp_path: Path) -> None:
    first, second = results(2)
    sink = ImageFileWriter(tmp_path / "a.png", render=picture)
    sink.write(first)
    with pytest.raises(SinkError, match="holds one picture"):
        sink.write(second)
    sink.abort()
    assert not any(tmp_path.iterdir())


def test_an_unknown_picture_format_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="picture format"):
        ImageFolderWriter(tmp_path / "out", render=picture, suffix=".xyz")
    with pytest.raises(SettingsError, match="picture format"):
        ImageFileWriter(tmp_path / "a.xyz", render=picture)
    assert not any(tmp_path.iterdir())


def test_the_input_picture_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"input")
    with pytest.raises(SinkError, match="that is the input"):
        ImageFileWriter(source, render=picture, overwrite=True, source=source)
    assert source.read_bytes() == b"input"
