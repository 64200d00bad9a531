"""What is known of a source before its first frame, and of a video file: times, colours, shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Colour:
    """Colour tags by their numbers in ITU-T H.273 (FFmpeg's enumerations); 2 = not stated.

    Attributes:
        matrix: 1 BT.709, 5/6 BT.601, 9 BT.2020.
        full_range: True for 0..255, False for 16..235.
        primaries, transfer: as in H.273.
    """

    matrix: int = 2
    full_range: bool = False
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Attributes:
        name: for messages and reports, without secrets.
        size: width and height of the upright frames, or None while unknown.
        rate: frames a second as a fraction, or None when unknown or variable.
        live: frames arrive at their own time and old ones are worth nothing.
        frames: how many frames to expect, or None; an estimate, for progress only.
    """

    name: str
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    live: bool = False
    frames: int | None = None


@dataclass(frozen=True)
class VideoInfo(SourceInfo):
    """A `SourceInfo` of a video file.

    Attributes:
        path: the file.
        time_base: seconds a unit of the frames' pts.
        sample_aspect: width to height of one pixel, after rotation.
        colour: tags of the stored picture.
        start, duration: the part to read in seconds, None = from the beginning, to the end.
        shift: seconds that were added to every time of the picture, because the first was below zero;
            sound copied beside it moves along.
    """

    path: Path = field(default_factory=Path)
    time_base: Fraction = Fraction(1, 90000)
    sample_aspect: Fraction = Fraction(1)
    colour: Colour = field(default_factory=Colour)
    start: float | None = None
    duration: float | None = None
    shift: Fraction = Fraction(0)


class HasInfo(Protocol):
    """Something that says what it is like: a `Source`."""

    @property
    def info(self) -> SourceInfo: ...


def info_of(like: HasInfo | SourceInfo | None) -> SourceInfo:
    """The description of a source, given itself or by its source; one that says nothing for None."""
    if like is None:
        return SourceInfo(name="")
    return like if isinstance(like, SourceInfo) else like.info
