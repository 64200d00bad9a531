"""Video files: every frame once, upright, with its own time; one clear line for what cannot be read."""

from __future__ import annotations

import csv
import os
import socket
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from br2focus.realtime import container
from br2focus.realtime.container import FILE_FORMATS
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.video_file import VideoFile
from br2focus.realtime.video_info import Colour

MakeClip = Callable[..., Path]
CAP = 600  # frames read of one clip: m58 has 21,766
ERRORS = {
    "unopenable": "not a readable video",
    "no-video-stream": "no video stream",
    "zero-frames": "no decodable video frames",
}
IDS = [
    f"m{number:02}"
    for number in (
        *(1, 2, 4, 5, 6, 8, 11, 12, 14, 16, 17, 19, 20, 21, 22, 25, 27, 28, 30, 31, 32, 34, 35, 36, 39, 40),
        *(41, 42, 44, 45, 47, 48, 49, 51, 53, 55, 56, 57, 58, 60),
    )
]


def row_of(shared: Path, name: str) -> tuple[dict[str, str], Path]:
    folder = shared / "media"
    with (folder / "index.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == name)
    return row, next(folder.glob(f"{name}_*"))


def source_times(path: Path, count: int = 30) -> list[int | None]:
    """What FFmpeg says of the first ``count`` frames."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "SLICE"
        return [frame.pts for frame in islice(container.decode(video=0), count)]


def read(path: Path, **options: object) -> tuple[VideoFile, list[Frame]]:
    with VideoFile(path, **options) as source:  # type: ignore[arg-type]
        return source, list(source)


def times(frames: list[Frame]) -> list[int]:
    return [frame.pts for frame in frames]


# --- the collection of real files ---


def test_the_list_of_clips_is_complete(shared: Path) -> None:
    with (shared / "media" / "index.csv").open(newline="") as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == IDS


@pytest.mark.parametrize("name", IDS)
def test_media(shared: Path, name: str) -> None:
    row, path = row_of(shared, name)
    if row["outcome"] in ERRORS:
        with pytest.raises(SourceError, match=ERRORS[row["outcome"]]) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        return
    pts, sizes = [], set()
    with VideoFile(path) as source:
        for frame in islice(source, CAP):
            pts.append(frame.pts)
            sizes.add(frame.size)
        info, notices = source.info, " ".join(source.notices)
        damaged, repaired = source.damaged, source.repaired_timestamps
    assert len(pts) == int(row["frames"])
    assert all(one < two for one, two in pairwise(pts)) and pts[0] >= 0
    width, height = (int(side) for side in row["sizes"].split("*")[0].split("x"))
    turned = row["rotation"] in ("90", "-90")
    assert sizes == {info.size} == {(height, width) if turned else (width, height)}
    assert (damaged > 0) == (row["outcome"] == "partial")
    assert (repaired > 0) == any(row[key] != "0" for key in ("pts_missing", "nonmono_pts"))
    if not repaired and not damaged:
        stored = source_times(path)
        shift = round(info.shift / info.time_base)
        assert pts[:30] == [time + shift for time in stored if time is not None]
        assert (shift > 0) == (row["neg_pts"] != "0")
    assert ("interlaced" in notices) == (row["interlaced"] != "0")
    assert ("made from the nominal rate" in notices) == (row["pts_missing"] != "0")
    assert ("HDR" in notices) == (row["color_trc"] in ("16", "18"))
    assert ("ignored" in notices) == (row["rotation"] == "-2147483648")
    assert "truncated" not in notices


def test_the_offset_of_m32_and_its_pixel_shape_are_kept(shared: Path) -> None:
    source, frames = read(row_of(shared, "m32")[1])
    assert frames[0].seconds == 10
    assert source.info.sample_aspect == Fraction(1137, 800)


def test_another_stream_can_be_chosen(shared: Path) -> None:
    path = row_of(shared, "m01")[1]
    source, frames = read(path, stream=1)
    assert (source.info.size, len(frames)) == ((480, 270), 390)
    with pytest.raises(SourceError, match=r"no video stream 2 \(it has 2"):
        VideoFile(path, stream=2)


def test_strict_refuses_damage(shared: Path) -> None:
    for name in ("m41", "m34", "m44"):
        with pytest.raises(SourceError, match="damaged"):
            read(row_of(shared, name)[1], strict=True)


def test_a_mirrored_clip_stands_as_its_matrix_says(shared: Path) -> None:
    path = row_of(shared, "m19")[1]
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="bgr24")
    with VideoFile(path) as source:
        upright = next(iter(source)).image
    assert np.abs(upright.astype(int) - stored.transpose(1, 0, 2)).mean() < 3


# --- clips made here ---


def test_frames_come_in_order_with_their_pictures(
    tmp_path: Path, make_clip: MakeClip, clip_picture: Callable[..., np.ndarray]
) -> None:
    _, frames = read(make_clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="bgr0", frames=15))
    for frame in frames:
        assert (frame.image == clip_picture(frame.index, (64, 48))).all()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mov"])
def test_each_container(tmp_path: Path, make_clip: MakeClip, suffix: str) -> None:
    path = make_clip(tmp_path / f"a{suffix}", frames=9, audio=1)
    source, frames = read(path)
    assert len(frames) == 9 and not source.damaged and not source.notices
    assert times(frames) == source_times(path)


def test_uneven_times_are_kept(tmp_path: Path, make_clip: MakeClip) -> None:
    source, frames = read(make_clip(tmp_path / "a.mp4", frames=9, vfr=True))
    steps = [two.seconds - one.seconds for one, two in pairwise(frames)]
    assert [step * 25 for step in steps] == [1, 2, 1, 3, 1, 2, 1, 3]
    assert source.info.rate is None and not source.repaired_timestamps


def test_what_the_file_says_of_itself(tmp_path: Path, make_clip: MakeClip) -> None:
    colour = Colour(1, True, 1, 1)
    path = make_clip(tmp_path / "a.mp4", colour=colour, sample_aspect=Fraction(4, 3), rotation=90, frames=7)
    with VideoFile(path) as source:
        info = source.info
    assert (info.name, info.path, info.live) == (str(path), path, False)
    assert (info.size, info.rate, info.frames) == ((48, 64), 25, 7)
    assert (info.sample_aspect, info.colour) == (Fraction(3, 4), colour)


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_rotation_is_applied_once(
    tmp_path: Path,
    make_clip: MakeClip,
    clip_picture: Callable[..., np.ndarray],
    rotation: int,
    turns: int,
) -> None:
    _, frames = read(make_clip(tmp_path / "a.mp4", rotation=rotation, frames=2))
    upright = np.rot90(clip_picture(0, (64, 48)), turns)  # counter-clockwise
    assert frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("gop", [5, 250])
def test_start_and_duration(tmp_path: Path, make_clip: MakeClip, suffix: str, gop: int) -> None:
    path = make_clip(tmp_path / f"a{suffix}", frames=50, gop=gop, first=0)
    whole = read(path)[1]
    for start, duration in [(0.4, 0.6), (0.0, 0.2), (1.9, None), (0.41, 0.08), (None, 1.0)]:
        part = read(path, start=start, duration=duration)[1]
        begin = whole[0].seconds + Fraction(str(start or 0))
        end = begin + Fraction(str(duration or 99))
        expected = [frame for frame in whole if begin <= frame.seconds < end]
        assert times(part) == times(expected)
        assert [frame.index for frame in part] == list(range(len(expected)))
        for one, two in zip(part, expected, strict=True):
            assert (one.image == two.image).all()
    with pytest.raises(SourceError, match="no frames between"):
        read(path, start=60)
    for wrong in [{"start": -1}, {"duration": 0}]:
        with pytest.raises(SourceError, match="at least 0"):
            VideoFile(path, **wrong)  # type: ignore[arg-type]


def test_a_part_of_a_raw_stream(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.h264", frames=50)
    source, frames = read(path, start=1.0, duration=0.4)
    assert len(frames) == 10
    assert "made from the nominal rate" in " ".join(source.notices)


def test_a_file_cut_short_gives_what_it_holds(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=40, container={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    source, frames = read(path)
    assert 10 <= len(frames) < 40
    assert source.damaged >= 40 - len(frames) - 1
    assert any(text.startswith("truncated: ") for text in source.notices)
    with pytest.raises(SourceError, match="damaged"):
        read(path, strict=True)


def test_a_file_that_was_never_finished_is_not_readable(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=20)
    whole = path.read_bytes()
    for missing in (700, 2000):
        path.write_bytes(whole[:-missing])
        with pytest.raises(SourceError, match=r"not a readable video \(damaged, never finished"):
            VideoFile(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_random_damage_never_crashes(tmp_path: Path, make_clip: MakeClip, suffix: str) -> None:
    path = make_clip(tmp_path / f"a{suffix}", frames=12, audio=1)
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    for _ in range(12):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, len(data), rng.integers(1, 200))] ^= 0x5A
        path.write_bytes(data[: rng.integers(1, len(data) + 1)].tobytes())
        try:
            _, frames = read(path)
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert all(one < two for one, two in pairwise(times(frames)))


def test_no_frame_is_lost_beside_a_damaged_packet(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=30, gop=1)
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[20]
        begin, size = entry.pos, entry.size  # the entry itself ends with the container
    data = bytearray(path.read_bytes())
    data[begin + 4 : begin + size] = bytes(size - 4)
    path.write_bytes(data)
    source, frames = read(path)
    assert source.damaged >= 1
    assert len(frames) >= 29
    assert {frame.seconds * 25 for frame in frames} >= set(range(30)) - {20}


def test_a_change_of_size_keeps_the_real_sizes_and_is_said(tmp_path: Path, make_clip: MakeClip) -> None:
    one = make_clip(tmp_path / "one.ts", frames=5)
    two = make_clip(tmp_path / "two.ts", frames=5, size=(96, 32))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    source, frames = read(joined)
    assert [frame.size for frame in frames] == [(64, 48)] * 5 + [(96, 32)] * 5
    assert "size changes" in " ".join(source.notices)
    assert all(one < two for one, two in pairwise(times(frames)))


def test_sound_alone_and_cover_pictures_are_no_video(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip(tmp_path / "a.mkv", audio=1, frames=5)
    sound = tmp_path / "a.mka"
    with av.open(str(clip)) as source, av.open(str(sound), "w") as target:
        copy = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    with pytest.raises(SourceError, match="no video stream"):
        VideoFile(sound)


# --- what must not be opened ---


def test_what_is_not_an_ordinary_file(tmp_path: Path, make_clip: MakeClip) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, why in [
        ("empty.mp4", "empty"),
        ("missing.mp4", "no such file"),
        (".", "folder"),
        ("pipe.mp4", "--allow-special"),
        ("nul\0.mp4", "null byte"),
    ]:
        with pytest.raises(SourceError, match=f"not a readable video.*{why}"):
            VideoFile(tmp_path / name)
    with pytest.raises(SourceError, match="--allow-special"):
        VideoFile("/dev/zero")


def test_a_pipe_is_read_when_allowed(tmp_path: Path, make_clip: MakeClip) -> None:
    data = make_clip(tmp_path / "a.ts", frames=20).read_bytes()
    pipe = tmp_path / "pipe.ts"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert len(read(pipe, allow_special=True, start=0.2)[1]) == 15
    writer.join()


@pytest.mark.parametrize(
    "name",
    [
        "rtsp://user:secret@host/x",
        "http://host/x.mp4",
        "concat:a|b",
        "file:///etc/passwd",
        "lavfi:x",
    ],
)
def test_urls_are_refused_without_showing_them(name: str) -> None:
    with pytest.raises(SourceError, match="a URL, not a file") as caught:
        VideoFile(name)
    assert "secret" not in str(caught.value)


def test_a_real_file_may_have_a_colon_in_its_name(
    tmp_path: Path, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "plain.mp4", frames=3).rename(tmp_path / "cam:12.30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("cam:12.30.mp4"))[1]) == 3


def test_playlists_open_nothing_else(tmp_path: Path, make_clip: MakeClip) -> None:
    secret = make_clip(tmp_path / "secret.ts", frames=3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for number, text in enumerate(_hostile(secret, url)):
            for suffix in (".m3u8", ".mp4", ".txt", ".sdp", ".mpd"):
                path = tmp_path / f"hostile{number}{suffix}"
                path.write_text(text)
                with pytest.raises(SourceError, match="not a readable video"):
                    VideoFile(path)
        with pytest.raises(BlockingIOError):
            server.accept()


def _hostile(secret: Path, url: str) -> list[str]:
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    return [
        *(f"{head}{place}\n#EXT-X-ENDLIST\n" for place in (secret.name, secret, f"file://{secret}", url)),
        *(f"ffconcat version 1.0\nfile '{place}'\n" for place in (secret.name, secret, url)),
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        "v=0\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ]


def test_the_allowed_formats_hold_their_own_pictures() -> None:
    banned = {
        "hls",
        "dash",
        "concat",
        "sdp",
        "rtsp",
        "image2",
        "lavfi",
        "tty",
        "webm_dash_manifest",
    }
    assert not banned & set(FILE_FORMATS)


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=3)
    with pytest.raises(SourceError, match="64 x 48 is over 1000 pixels"):
        VideoFile(path, max_pixels=1000)
    small, large = tmp_path / "small.ts", make_clip(tmp_path / "large.ts", size=(128, 96), frames=5)
    make_clip(small, frames=200)  # so long that the second size is not seen when opening
    small.write_bytes(small.read_bytes() + large.read_bytes())
    source, frames = read(small, max_pixels=64 * 48)
    assert {frame.size for frame in frames} == {(64, 48)}
    assert source.damaged


# --- letting go ---


def test_nothing_is_left_open(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=6)
    (tmp_path / "bad.mp4").write_bytes(path.read_bytes()[:300])
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for number in range(50):
        source = VideoFile(path, start=0.1 if number % 3 else None)
        for _ in islice(source, number % 4):
            pass
        source.close()
        with pytest.raises(SourceError):
            VideoFile(tmp_path / "bad.mp4")
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may decode it")
def test_without_a_gpu_a_file_is_decoded_on_the_cpu_and_that_is_said(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    source, frames = read(path, gpu=0)
    _, wanted = read(path)
    assert [(f.pts, f.image.tobytes()) for f in frames] == [(f.pts, f.image.tobytes()) for f in wanted]
    assert [n for n in source.notices if "GPU" in n] == list(source.notices)
    assert source.notices[0].startswith("decoded on the CPU: the GPU does not do it (")
    with pytest.raises(SourceError, match="not a readable video"):
        VideoFile(tmp_path / "missing.mp4", gpu=0)


@pytest.mark.needs_cuda
def test_a_gpu_decodes_the_same_pictures(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    source, frames = read(path, gpu=0)
    for frame, wanted in zip(frames, read(path)[1], strict=True):
        assert frame.pts == wanted.pts and np.array_equal(frame.image, wanted.image)
    assert not source.notices


def test_it_is_read_once(tmp_path: Path, make_clip: MakeClip) -> None:
    with VideoFile(make_clip(tmp_path / "a.mp4", frames=3)) as source:
        assert len(list(source)) == 3
        with pytest.raises(SourceError, match="open it again"):
            list(source)


def test_closing_while_another_thread_reads(tmp_path: Path, make_clip: MakeClip) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=60)
    for number in range(20):
        source = VideoFile(path)
        seen: list[int] = []
        reached = threading.Event()

        def reader(
            source: VideoFile = source,
            seen: list[int] = seen,
            reached: threading.Event = reached,
            stop_at: int = number,
        ) -> None:
            for frame in source:
                seen.append(frame.index)
                if frame.index == stop_at:
                    reached.set()

        thread = threading.Thread(target=reader)
        thread.start()
        reached.wait()
        source.close()
        thread.join()
        assert seen == list(range(len(seen))) and len(seen) > number


def test_a_file_that_goes_while_it_is_opened_is_read_all_the_same(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=4)
    choose = container.choose_stream

    def gone(*arguments: Any) -> Any:
        clip.unlink(missing_ok=True)
        return choose(*arguments)

    monkeypatch.setattr(container, "choose_stream", gone)
    with VideoFile(clip) as source:
        assert len(list(source)) == 4
