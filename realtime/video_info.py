"""Metadata of a source or video file that is known before its first frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Colour:
    """Colour tags as ITU-T H.273 code points (FFmpeg's enumerations); 2 means unspecified.

    Attributes:
        matrix: 1 for BT.709, 5 or 6 for BT.601, 9 for BT.2020.
        full_range: True for 0..255, False for 16..235.
        primaries, transfer: code points from H.273.
    """

    matrix: int = 2
    full_range: bool = False
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True)
class SourceInfo:
    """Metadata of a source that is known before its first frame.

    Attributes:
        name: name for messages and reports, without secrets.
        size: width and height of the upright frames, or None if not known yet.
        rate: frames per second as a fraction, or None if unknown or variable.
        live: True if frames arrive in real time and stale frames are worthless.
        frames: expected number of frames, or None; an estimate, for progress only.
    """

    name: str
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    live: bool = False
    frames: int | None = None


@dataclass(frozen=True)
class VideoInfo(SourceInfo):
    """The `SourceInfo` of a video file.

    Attributes:
        path: the file.
        time_base: seconds per unit of the frames' pts.
        sample_aspect: pixel aspect ratio (width to height) after rotation.
        colour: colour tags of the stored video.
        start, duration: the section to read in seconds; None means from the beginning and to the end.
        shift: seconds added to every video timestamp because the first one was negative; copied audio is
            shifted by the same amount.
    """

    path: Path = field(default_factory=Path)
    time_base: Fraction = Fraction(1, 90000)
    sample_aspect: Fraction = Fraction(1)
    colour: Colour = field(default_factory=Colour)
    start: float | None = None
    duration: float | None = None
    shift: Fraction = Fraction(0)


class HasInfo(Protocol):
    """An object with an ``info`` attribute, such as a `Source`."""

    @property
    def info(self) -> SourceInfo: ...


def info_of(like: HasInfo | SourceInfo | None) -> SourceInfo:
    """Return the info of a source, an info as it is, or an empty info for None."""
    if like is None:
        return SourceInfo(name="")
    return like if isinstance(like, SourceInfo) else like.info
