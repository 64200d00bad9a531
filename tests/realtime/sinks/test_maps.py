"""MapWriter keep P to half a step of their format, and their frames' index and time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.frame import BlurMap, Frame
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.maps import MapWriter
from br2focus.realtime.video_info import SourceInfo, VideoInfo

INFO = SourceInfo(name="test", rate=None)
PTS = [7, 8, 12, 40]
TIME_BASE = Fraction(1, 24)


def blur(index: int, size: tuple[int, int] = (33, 21)) -> np.ndarray:
    """float32 with 0 and 1 among its values."""
    ramp = np.linspace(0, 1, size[0] * size[1], dtype=np.float32)
    return np.roll(ramp, index * 31).reshape(size[::-1])


def results(sizes: dict[int, tuple[int, int]] | None = None) -> Iterable[FocusResult]:
    for index, pts in enumerate(PTS):
        values = blur(index, (sizes or {}).get(index, (33, 21)))
        image = np.zeros((*values.shape, 3), np.uint8)
        yield FocusResult(Frame(image, index, pts, TIME_BASE, 0.0), BlurMap(values))


def write(path: Path, sizes: dict[int, tuple[int, int]] | None = None) -> Path:
    with MapWriter(path, INFO) as sink:
        for result in results(sizes):
            sink.write(result)
    return path


def test_folder_holds_16_bits(tmp_path: Path) -> None:
    folder = write(tmp_path / "maps")
    assert sorted(item.name for item in folder.iterdir()) == [f"{i:06d}.png" for i in range(4)]
    for index in range(4):
        found = cv2.imread(str(folder / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint16
        assert (found.min(), found.max()) == (0, 65535)
        assert np.abs(found / 65535 - blur(index)).max() <= 0.5 / 65535 + 1e-7


def test_npz_holds_half_floats_and_exact_times(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "maps.npz", {2: (8, 6)})) as file:
        assert file["index"].tolist() == [0, 1, 2, 3]
        assert file["pts"].tolist() == PTS
        assert Fraction(*file["time_base"].tolist()) == TIME_BASE
        assert file["blur_000002"].shape == (6, 8)
        found = file["blur_000003"]
        assert found.dtype == np.float16
        assert np.abs(found.astype(np.float32) - blur(3)).max() < 1 / 2000


def test_video_is_lossless_gray_with_the_frames_times(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "maps.mkv"))) as container:
        frames = list(container.decode(video=0))
    assert [frame.format.name for frame in frames] == ["gray16le"] * 4
    for index, frame in enumerate(frames):
        found = frame.to_ndarray()
        assert found.shape == (21, 33)
        assert np.abs(found / 65535 - blur(index)).max() <= 0.5 / 65535 + 1e-7
        assert abs(frame.pts * frame.time_base - PTS[index] * TIME_BASE) <= Fraction(1, 2000)


def test_video_keeps_its_first_size(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "maps.mkv", {2: (8, 6)}))) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [(33, 21)] * 4


@pytest.mark.parametrize("name", ["maps.png", "maps.mp4", "maps.npy"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.npz"):
        MapWriter(tmp_path / name, INFO)
    assert not any(tmp_path.iterdir())


def test_the_input_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    source.write_bytes(b"input")
    with pytest.raises(SinkError, match="that is the input"):
        MapWriter(source, VideoInfo(name="in", path=source), overwrite=True)
    assert source.read_bytes() == b"input"
