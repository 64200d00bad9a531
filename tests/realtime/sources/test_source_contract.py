"""What every source keeps, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.realtime.errors import SourceError
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.sources.images import ImageFiles
from br2focus.realtime.sources.sampled import SampledSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.sources.video_file import VideoFile

COUNT, SIZE = 12, (64, 48)
Open = Callable[[], Source]


@pytest.fixture(params=["frames", "images", "video", "video-part", "sampled"])
def open_source(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    clip_picture: Callable[[int, tuple[int, int]], np.ndarray],  # type: ignore[type-arg]
) -> Open:
    """Makes a fresh source of `COUNT` frames of `SIZE`."""
    pictures = [clip_picture(index, SIZE) for index in range(COUNT)]
    if request.param == "frames":
        return lambda: Frames(pictures, Fraction(25))
    if request.param == "images":
        paths = [tmp_path / f"{index:02}.png" for index in range(COUNT)]
        for path, picture in zip(paths, pictures, strict=True):
            cv2.imwrite(str(path), picture)
        return lambda: ImageFiles(paths)
    if request.param in ("video", "sampled"):
        clip = make_clip(tmp_path / "clip.mp4", frames=COUNT, size=SIZE)
        if request.param == "video":
            return lambda: VideoFile(clip)
        return lambda: SampledSource(VideoFile(clip), 0.01)  # more often than there are frames
    clip = make_clip(tmp_path / "clip.mp4", frames=3 * COUNT, size=SIZE)
    return lambda: VideoFile(clip, start=COUNT / 25, duration=COUNT / 25)


def test_frames_are_numbered_timed_sized_and_read_only(open_source: Open) -> None:
    with open_source() as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert all(one.pts < two.pts for one, two in pairwise(frames))
    assert all(one.arrived <= two.arrived for one, two in pairwise(frames))
    assert {frame.size for frame in frames} == {SIZE}
    assert {frame.time_base for frame in frames} == {frames[0].time_base}
    assert not any(frame.image.flags.writeable for frame in frames)
    steps = {two.seconds - one.seconds for one, two in pairwise(frames)}
    assert len(steps) == 1


def test_pictures_do_not_share_memory(open_source: Open) -> None:
    with open_source() as source:
        frames = list(source)
    assert len({frame.image.ctypes.data for frame in frames}) == COUNT


def test_info_agrees_with_the_frames(open_source: Open) -> None:
    with open_source() as source:
        info = source.info
        assert not info.live and info.name
        assert info.size in (None, SIZE)
        assert info.rate is None or isinstance(info.rate, Fraction)


def test_close_twice_and_before_reading(open_source: Open) -> None:
    before = threading.active_count()
    source = open_source()
    source.close()
    source.close()
    assert threading.active_count() <= before


def test_iterating_after_close_ends_or_says_so(open_source: Open) -> None:
    source = open_source()
    source.close()
    with pytest.raises(SourceError, match="closed"):
        list(source)


def test_a_reader_may_leave_early(open_source: Open) -> None:
    with open_source() as source:
        for frame in source:
            if frame.index == 3:
                break
        assert frame.index == 3


def test_close_from_another_thread_ends_the_iteration(open_source: Open) -> None:
    with open_source() as source:
        frames = iter(source)
        next(frames)
        closer = threading.Thread(target=source.close)
        closer.start()
        closer.join()
        assert len(list(frames)) < COUNT - 1
