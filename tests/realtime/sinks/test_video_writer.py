"""The annotated video keeps times, sound, colours and shape, and survives kills and full disks."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from br2focus.realtime.colour import to_bgr
from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.frame import BlurMap, Frame, Image
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.audio_copy import suggest_suffix
from br2focus.realtime.sinks.codecs import VideoSettings
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.video_file import VideoFile
from br2focus.realtime.video_info import Colour, SourceInfo, VideoInfo

MakeClip = Callable[..., Path]
INFO = SourceInfo(name="test", rate=Fraction(25))


def shown(result: FocusResult) -> Image:
    return result.frame.image


def result(
    index: int, pts: int, time_base: Fraction = Fraction(1, 25), size: tuple[int, int] = (32, 24)
) -> FocusResult:
    rng = np.random.default_rng(index)
    coarse = rng.integers(40, 216, (size[1], size[0], 3), np.uint8)
    blur = BlurMap(np.zeros((size[1], size[0]), np.float32))
    return FocusResult(Frame(coarse, index, pts, time_base, 0.0), blur)


def copy(source: Path, target: Path, **part: float) -> tuple[list[Fraction], VideoWriter]:
    """Write every frame of ``source`` as it is; the times of the frames and the writer."""
    times = []
    with VideoFile(source, **part) as video, VideoWriter(target, video.info, render=shown) as sink:
        for frame in video:
            blur = BlurMap(np.zeros(frame.image.shape[:2], np.float32))
            sink.write(FocusResult(frame, blur))
            times.append(frame.seconds)
    return times, sink


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def audio_of(path: Path) -> list[list[tuple[str, Fraction]]]:
    """SHA-256 and time of every packet, a list for each audio stream."""
    found: dict[int, list[tuple[str, Fraction]]] = {}
    with av.open(str(path)) as container:
        streams = container.streams.audio
        for packet in container.demux(*streams) if streams else ():
            if packet.size:
                item = sha256(bytes(packet)).hexdigest(), packet.pts * packet.time_base
                found.setdefault(packet.stream_index, []).append(item)
    return list(found.values())


def boxes(path: Path) -> list[str]:
    """Names of the top-level boxes of an MP4."""
    data, names, at = path.read_bytes(), [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


TIME_BASES = [
    Fraction(1, 1000),
    Fraction(1, 90000),
    Fraction(1, 15360),
    Fraction(1, 600),
    Fraction(1, 12),
    Fraction(1, 30000),
    Fraction(1001, 30000),
    Fraction(1000000, 30000299),
    Fraction(1, 1200000),
]


@pytest.mark.parametrize("time_base", TIME_BASES, ids=str)
@pytest.mark.parametrize("vfr", [False, True], ids=["cfr", "vfr"])
@pytest.mark.parametrize("first", [0, 10], ids=["from-0", "from-10s"])
def test_times_are_exact_in_mp4(time_base: Fraction, vfr: bool, first: int, tmp_path: Path) -> None:
    step = max(round(Fraction(1001, 30000) / time_base), 1)
    steps = [step, 2 * step, step, 5 * step, 50 * step] * 6 if vfr else [step] * 30
    ticks = list(accumulate(steps, initial=round(first / time_base)))
    path = tmp_path / "a.mp4"
    with VideoWriter(path, SourceInfo(name="t"), render=shown) as sink:
        for index, pts in enumerate(ticks):
            sink.write(result(index, pts, time_base))
    assert times_of(path) == [pts * time_base for pts in ticks]


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_times_in_other_containers(suffix: str, tmp_path: Path) -> None:
    path, time_base = tmp_path / f"a{suffix}", Fraction(1, 90000)
    ticks = list(accumulate([3003, 6006, 3003, 90000] * 6, initial=900_001))
    with VideoWriter(path, SourceInfo(name="t"), render=shown) as sink:
        for index, pts in enumerate(ticks):
            sink.write(result(index, pts, time_base))
    allowed = 0 if suffix == ".mov" else Fraction(1, 2000)
    pairs = zip(times_of(path), ticks, strict=True)
    assert max(abs(found - pts * time_base) for found, pts in pairs) <= allowed


def test_times_stay_exact_with_uneven_frames_beside_audio(make_clip: MakeClip, tmp_path: Path) -> None:
    """A fragment that the sound ends must know how long its last frame lasts."""
    rng = np.random.default_rng(3)
    ticks = [0, *np.cumsum(rng.integers(3, 60, 80)).tolist()]
    source = make_clip(tmp_path / "in.mp4", pts=ticks, frames=81, audio=1)
    times, _ = copy(source, tmp_path / "out.mp4")
    assert len(times) == 81
    assert times_of(tmp_path / "out.mp4") == times


def test_times_must_increase(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "a.mp4", INFO, render=shown)
    sink.write(result(0, 5))
    with pytest.raises(SinkError, match="must increase"):
        sink.write(result(1, 5))
    sink.abort()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("streams", [1, 2])
def test_audio_is_copied_bit_for_bit(streams: int, suffix: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=30, audio=streams)
    times, sink = copy(source, tmp_path / f"out{suffix}")
    before, after = audio_of(source), audio_of(tmp_path / f"out{suffix}")
    assert sink.audio_streams == len(before) == len(after) == streams
    assert sink.notices == ()
    for old, new in zip(before, after, strict=True):
        assert old[0][1] < 0  # priming: players need its time to keep the sound in sync
        assert [digest for digest, _ in new] == [digest for digest, _ in old]
        pairs = zip(old, new, strict=True)
        assert max(abs(a[1] - b[1]) for a, b in pairs) <= Fraction(1, 1000)
    pairs = zip(times_of(tmp_path / f"out{suffix}"), times, strict=True)
    assert max(abs(a - b) for a, b in pairs) <= (0 if suffix == ".mp4" else Fraction(1, 2000))


def test_audio_lies_beside_its_video(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=150, audio=1)
    copy(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        by_place = sorted((p for p in container.demux() if p.size), key=lambda packet: packet.pos)
        latest = {"audio": 0.0, "video": 0.0}
        for packet in by_place:
            latest[packet.stream.type] = float(packet.dts * packet.time_base)
            assert abs(latest["audio"] - latest["video"]) < 1.5


def test_a_part_takes_its_part_of_the_audio(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=150, audio=1)
    times, sink = copy(source, tmp_path / "out.mp4", start=3.5, duration=1.0)
    (before,), (after,) = audio_of(source), audio_of(tmp_path / "out.mp4")
    packet = Fraction(1024, 16000)
    inside = [item for item in before if times[0] - packet < item[1] < times[0] + 1]
    assert len(inside) > 10
    assert [digest for digest, _ in after] == [digest for digest, _ in inside]
    assert times_of(tmp_path / "out.mp4") == times
    assert sink.notices == ()


def test_a_job_stopped_early_ends_its_audio_too(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=150, audio=1)
    with VideoFile(source) as video, VideoWriter(tmp_path / "out.mp4", video.info, render=shown) as sink:
        for frame in video:
            sink.write(FocusResult(frame, BlurMap(np.zeros(frame.image.shape[:2], np.float32))))
            if frame.index == 49:
                break
    (audio,) = audio_of(tmp_path / "out.mp4")
    assert 1.8 < audio[-1][1] < 2.6
    assert "audio after 1.96 s left out" in sink.notices[0]


def test_audio_that_does_not_fit_is_refused_with_a_remedy(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", audio=1)
    info = VideoInfo(name="in", path=source)
    with pytest.raises(SettingsError, match=r"cannot carry the aac audio.*\.mkv"):
        VideoWriter(tmp_path / "out.webm", info, render=shown, settings=VideoSettings(codec="vp9"))
    assert [item.name for item in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("pcm_s16le", ".mkv")])
def test_suggested_suffix(codec: str, suffix: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", audio=1, audio_codec=codec)
    assert suggest_suffix(VideoInfo(name="in", path=source)) == suffix


def test_chapters_are_kept_and_other_metadata_is_not(make_clip: MakeClip, tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    plain = make_clip(tmp_path / "plain.mkv", frames=30)
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        new.metadata.update({"location": "+48.1+011.5/", "title": "secret"})
        base = Fraction(1, 1000)
        chapters = [
            {"id": 1, "start": 0, "end": 500, "time_base": base, "metadata": {"title": "one"}},
            {"id": 2, "start": 500, "end": 1200, "time_base": base, "metadata": {"title": "two"}},
        ]
        new.set_chapters(chapters)
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    for suffix in (".mp4", ".mkv"):
        copy(source, tmp_path / f"out{suffix}")
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            found = [
                (item["metadata"]["title"], item["start"] * item["time_base"])
                for item in container.chapters()
            ]
            tags = container.metadata | container.streams.video[0].metadata
        assert found == [("one", 0), ("two", Fraction(1, 2))]
        assert not {"location", "title"} & {key.lower() for key in tags}


@pytest.mark.parametrize(
    "colour", [Colour(1, False, 1, 1), Colour(1, True, 1, 13), Colour(9, False, 9, 18)], ids=str
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colours_and_pixel_shape_survive(
    colour: Colour, suffix: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    def flat(index: int, size: tuple[int, int]) -> Image:
        return np.full((size[1], size[0], 3), (40, 90, 200), np.uint8)

    source = make_clip(tmp_path / "in.mp4", frames=3, colour=colour, sample_aspect=Fraction(4, 3), draw=flat)
    copy(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        context = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
        full_range = context.color_range == 2
        found = Colour(context.colorspace, full_range, context.color_primaries, context.color_trc)
        assert found == colour
        assert context.sample_aspect_ratio == Fraction(4, 3)
        image = to_bgr(frame, VideoReformatter())
        assert np.abs(image.astype(int) - flat(0, (64, 48))).max() <= 5


def test_an_odd_size_gets_one_more_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ramp = np.repeat(np.linspace(20, 230, 161)[None, :, None], 121, 0).repeat(3, 2).astype(np.uint8)
    with VideoWriter(path, INFO, render=lambda result: ramp, settings=VideoSettings(crf=5)) as sink:
        for index in range(3):
            sink.write(result(index, index))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (162, 122)
        image = to_bgr(frame, VideoReformatter()).astype(int)
        assert np.abs(image[:121, :161] - ramp).max() < 8
        assert np.abs(image[121] - image[120]).max() < 8  # the edge again, no black line
        assert np.abs(image[:, 161] - image[:, 160]).max() < 8


def test_a_change_of_size_is_fitted_without_stretching(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"

    def disc(result: FocusResult) -> Image:
        size = (64, 48) if result.frame.index < 2 else (40, 80)
        y, x = np.mgrid[: size[1], : size[0]]
        inside = (x - size[0] / 2 + 0.5) ** 2 + (y - size[1] / 2 + 0.5) ** 2 < 15**2
        return np.repeat(np.where(inside, 235, 60)[..., None], 3, 2).astype(np.uint8)

    with VideoWriter(path, INFO, render=disc) as sink:
        for index in range(4):
            sink.write(result(index, index))
    assert sink.notices == ("2 frames of another size were fitted into 64 x 48",)
    with av.open(str(path)) as container:
        images = [to_bgr(frame, VideoReformatter()) for frame in container.decode(video=0)]
    bright = images[3][..., 1] > 150
    assert images[3].shape == (48, 64, 3)
    assert abs(np.ptp(np.flatnonzero(bright.any(0))) - np.ptp(np.flatnonzero(bright.any(1)))) <= 1
    assert images[3][:, :15].max() < 30  # black beside it


def test_the_default_plays_in_a_browser(make_clip: MakeClip, tmp_path: Path) -> None:
    copy(make_clip(tmp_path / "in.mp4", frames=60, audio=1), tmp_path / "out.mp4")
    assert boxes(tmp_path / "out.mp4") == ["ftyp", "free", "mdat", "moov"]  # no fragments
    with av.open(str(tmp_path / "out.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.index, video.codec_context.codec_tag) == (0, "avc1")
        assert video.codec_context.pix_fmt == "yuv420p"
        assert video.frames == 60
        assert audio.codec_context.codec_tag == "mp4a"
        assert container.duration == pytest.approx(60 / 25 * 1e6, abs=70_000)


@pytest.mark.parametrize(
    ("codec", "suffix", "name", "tag"),
    [
        ("hevc", ".mp4", "hevc", "hvc1"),
        ("av1", ".mp4", "av1", "av01"),
        ("vp9", ".webm", "vp9", None),
        ("ffv1", ".mkv", "ffv1", None),
        ("h264", ".mkv", "h264", None),
    ],
)
def test_other_codecs(codec: str, suffix: str, name: str, tag: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, INFO, render=shown, settings=VideoSettings(codec=codec)) as sink:
        for index in range(6):
            sink.write(result(index, index, size=(66, 66)))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec.canonical_name == name
        assert tag in (None, container.streams.video[0].codec_context.codec_tag)
        assert container.streams.video[0].codec_context.width == 66
    assert len(times_of(path)) == 6


@pytest.mark.parametrize(
    ("options", "suffix", "reason"),
    [
        ({"codec": "divx"}, ".mp4", "choose one of h264"),
        ({"codec": "vp9"}, ".mov", r"goes into \.webm"),
        ({"codec": "ffv1"}, ".mp4", r"goes into \.mkv"),
        ({}, ".avi", r"end the name in one of \.mp4"),
        ({"crf": 52}, ".mp4", "0 to 51"),
        ({"codec": "ffv1", "crf": 3}, ".mkv", "no CRF"),
        ({"codec": "ffv1", "preset": "slow"}, ".mkv", "no preset"),
    ],
)
def test_wrong_settings_are_refused_before_any_frame(
    options: dict[str, object], suffix: str, reason: str, tmp_path: Path
) -> None:
    def make() -> None:
        settings = VideoSettings(**options)
        VideoWriter(tmp_path / f"a{suffix}", INFO, render=shown, settings=settings)

    with pytest.raises(SettingsError, match=reason):
        make()
    assert not any(tmp_path.iterdir())


def test_a_preset_the_encoder_does_not_know_is_a_sink_error(tmp_path: Path) -> None:
    settings = VideoSettings(preset="warp")
    with (
        pytest.raises(SinkError, match="libx264"),
        VideoWriter(tmp_path / "a.mp4", INFO, render=shown, settings=settings) as sink,
    ):
        sink.write(result(0, 0))
    assert not any(tmp_path.iterdir())


def test_a_missing_encoder_is_a_sink_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from br2focus.realtime.sinks import codecs

    gone = replace(codecs.CODECS["h264"], encoder="libnone")
    monkeypatch.setitem(codecs.CODECS, "h264", gone)
    with pytest.raises(SinkError, match="no encoder 'libnone'"):
        VideoWriter(tmp_path / "a.mp4", INFO, render=shown)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["same", "symlink", "hardlink", "temporary"])
def test_the_input_is_never_written_over(how: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / ("out.partial.mp4" if how == "temporary" else "in.mp4"))
    before = sha256(source.read_bytes()).digest()
    target = source if how == "same" else tmp_path / "out.mp4"
    if how == "symlink":
        target.symlink_to(source)
    elif how == "hardlink":
        target.hardlink_to(source)
    with pytest.raises(SinkError, match="that is the input"):
        VideoWriter(target, VideoInfo(name="in", path=source), render=shown, overwrite=True)
    assert sha256(source.read_bytes()).digest() == before


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_failure_keeps_the_playable_part(suffix: str, tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / f"a{suffix}", INFO, render=shown)
    for index in range(20):
        sink.write(result(index, index))
    sink.abort()
    assert sink.kept == tmp_path / f"a.partial{suffix}"
    assert len(times_of(sink.kept)) == 20
    assert [item.name for item in tmp_path.iterdir()] == [sink.kept.name]


def test_no_frame_makes_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", INFO, render=shown):
        pass
    assert not any(tmp_path.iterdir())


WRITE = """
import resource, sys, time
from pathlib import Path
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.path.insert(0, {tests!r})
from test_video_writer import INFO, SinkError, VideoFile, VideoWriter, forever, shown
video = VideoFile(Path({source!r}))
sink = VideoWriter(Path({path!r}), video.info, render=shown)
try:
    for item in forever():
        sink.write(item)
        print(item.frame.index, flush=True)
        if item.frame.index == {pause}:
            time.sleep(600)
except SinkError as error:
    print(error, file=sys.stderr)
    sink.abort()
    sys.exit(5)
"""


def forever() -> Iterator[FocusResult]:
    for index in range(100_000):
        yield result(index % 50 + 50 * (index // 50), index, size=(64, 48))


def start(
    source: Path, path: Path, *, limit: int | None = None, pause: int | None = None
) -> subprocess.Popen[str]:
    """A process that writes frames to ``path``; ``limit``: bytes a file may have; ``pause``: last frame."""
    tests = str(Path(__file__).parent)
    code = WRITE.format(tests=tests, source=str(source), path=str(path), limit=limit, pause=pause)
    # Set in the child itself: `preexec_fn` forks this process, which has threads of many libraries.
    return subprocess.Popen(
        [sys.executable, "-c", code],
        text=True,
        env=os.environ | ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


ENV = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_kill_loses_at_most_a_second(suffix: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=200, audio=1)
    path, part = tmp_path / f"out{suffix}", tmp_path / f"out.partial{suffix}"
    # It pauses beside the kill: tiny frames would run past the sound of the source before the signal.
    with start(source, path, pause=110) as process:
        assert process.stdout is not None
        written = 0
        for line in process.stdout:
            written = int(line) + 1
            if written == 100:
                process.send_signal(signal.SIGKILL)
    assert written >= 100, process.stderr
    found = times_of(part)
    assert len(found) >= written - 25
    assert max(abs(a - Fraction(i, 25)) for i, a in enumerate(found)) <= Fraction(1, 2000)
    assert len(audio_of(part)[0]) >= 40
    assert not path.exists()
    copy(source, path)  # the next run takes the stale file's place
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.mp4", path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_reported_and_keeps_the_part(suffix: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=200, audio=1)
    path, part = tmp_path / f"out{suffix}", tmp_path / f"out.partial{suffix}"
    with start(source, path, limit=150_000) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 5, errors
    assert errors.startswith(f"{path}: the file grew over the size limit")
    assert errors.count("\n") == 1
    assert not path.exists()
    assert sum(1 for _ in VideoFile(part)) > 10  # its last packet may be cut


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_disk_that_fills_up_at_the_end_is_no_success(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = VideoWriter(tmp_path / f"a{suffix}", INFO, render=shown)
    for index in range(5):
        sink.write(result(index, index))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
    try:
        with pytest.raises(SinkError, match="ulimit"):
            sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not (tmp_path / f"a{suffix}").exists()


def test_clips_of_the_data_folder(shared: Path, tmp_path: Path) -> None:
    """First at 10 s with wide pixels; uneven frames with a gap of 2 s; sound beside moved frames."""
    for name in ("m32", "m27", "m28", "m40"):
        (source,) = (shared / "media").glob(f"{name}_*")
        times, _ = copy(source, tmp_path / f"{name}.mp4")
        with VideoFile(source) as video:
            shift = video.info.shift
        assert times_of(tmp_path / f"{name}.mp4") == times, name
        for old, new in zip(audio_of(source), audio_of(tmp_path / f"{name}.mp4"), strict=True):
            assert [digest for digest, _ in old] == [digest for digest, _ in new], name
            pairs = zip(old, new, strict=True)
            assert max(abs(a[1] + shift - b[1]) for a, b in pairs) < Fraction(1, 1000), name
