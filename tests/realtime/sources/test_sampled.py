"""One frame in so many seconds, by the source's own times."""

from fractions import Fraction

import numpy as np
import pytest

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.sources.live.paced import PacedSource
from br2focus.realtime.sources.sampled import SampledSource
from br2focus.realtime.sources.video_file import VideoFile


def source(count: int, rate: int = 10) -> Frames:
    return Frames([np.zeros((4, 4, 3), np.uint8)] * count, rate=Fraction(rate))


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0.01, list(range(12))), (0.2, [0, 2, 4, 6, 8, 10]), (0.25, [0, 3, 5, 8, 10]), (9, [0])],
)
def test_first_frame_of_each_step(seconds, wanted):
    assert [frame.index for frame in SampledSource(source(12), seconds)] == wanted


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_what_is_no_time_is_refused(seconds):
    with pytest.raises(SettingsError, match="above 0"):
        SampledSource(source(3), seconds)


def test_a_step_shorter_than_any_frame_takes_all():
    assert len(list(SampledSource(source(3), 1e-9))) == 3


def test_times_are_those_of_the_source(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", frames=20, vfr=True, first=3)
    with VideoFile(clip) as all_of_it:
        times = [frame.seconds for frame in all_of_it]
    with SampledSource(VideoFile(clip), 0.2) as sampled:
        found = [frame.seconds for frame in sampled]
    assert found[0] == times[0] and set(found) <= set(times)
    steps = [(time - times[0]) // Fraction(1, 5) for time in found]
    assert steps == sorted({(time - times[0]) // Fraction(1, 5) for time in times})


def test_how_many_to_expect(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=50)
    with SampledSource(VideoFile(clip), 0.5) as sampled:
        assert sampled.info.frames == len(list(sampled)) == 4


@pytest.mark.parametrize(
    "wrap", [PacedSource, lambda source: SampledSource(source, 0.01)], ids=["paced", "sampled"]
)
def test_faults_of_the_source_are_not_lost(wrap, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=40, container={"movflags": "faststart"})
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 6 // 10])
    with VideoFile(clip) as source, wrap(source) as wrapped:
        list(wrapped)
    assert wrapped.damaged == source.damaged > 0
    assert wrapped.notices == source.notices and "truncated" in wrapped.notices[0]
    assert wrapped.repaired_timestamps == source.repaired_timestamps
