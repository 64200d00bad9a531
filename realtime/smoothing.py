"""Temporal smoothing of blur maps: what every kind of it is, and the plain average by a time constant.

The plain one is an exponential average whose weight follows from the frames' own times, so that dropped
frames and variable frame rates do not change the look: alpha = 1 - exp(-dt / time constant).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from .device import cores
from .errors import SettingsError
from .frame import BlurMap, Frame, Image, Values

# A pause longer than this says nothing about the next picture.
MAX_GAP = Fraction(1, 2)
THUMBNAIL = (32, 18)
# Mean difference of two thumbnails (0..255) above which the shot has changed: pans and exposure changes
# stay below it between neighbouring frames.
CUT_DIFFERENCE = 28.0

# "adaptive", "look-ahead" or "look-ahead:FRAMES", seconds, or None for raw maps; see `check_smoothing`.
SmoothingSetting = float | str | None
MAX_SECONDS = 60.0
SPARE_CORES = 4  # with fewer, another thread costs more than it saves
AHEAD, MAX_AHEAD = 5, 30  # frames that look-ahead waits for; more than five are calmer by little
CHOICES = (
    f"choose adaptive, look-ahead, look-ahead:FRAMES (1 to {MAX_AHEAD}), "
    f"a time in seconds (up to {MAX_SECONDS:g}), or off"
)


class Smoothed(NamedTuple):
    """A frame with its own map, and the one to show."""

    frame: Frame
    raw: BlurMap
    shown: BlurMap


class Smoother(Protocol):
    """Takes frames with their maps in order, and gives them back in order, each with the map to show."""

    @property
    def delay(self) -> float:
        """By how many seconds what is shown lags behind its own frame."""

    def reset(self) -> None:
        """Forget the past and what waits; the next map passes unchanged."""

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """Take the next frame; those that are ready now."""

    def flush(self) -> list[Smoothed]:
        """Those that still wait; the next map passes unchanged."""


class EachFrame(ABC):
    """A smoother that has each frame ready at once: it is called for the map to show."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the past; the next map passes unchanged."""

    @abstractmethod
    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """The map to show for ``frame``, of the size of ``blur``: float32 in [0, 1]."""

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """The frame itself."""
        return [Smoothed(frame, blur, self(frame, blur))]

    def flush(self) -> list[Smoothed]:
        """Nothing waits."""
        self.reset()
        return []


def check_smoothing(setting: SmoothingSetting) -> None:
    """Refuse what is no setting.

    Raises:
        SettingsError: an unknown name, or a number of frames or seconds out of its range.
    """
    if isinstance(setting, str):
        known = setting == "adaptive" or 1 <= frames_ahead(setting) <= MAX_AHEAD
    else:
        known = setting is None or 0 < setting <= MAX_SECONDS
    if not known:
        raise SettingsError(f"smoothing {setting!r}: {CHOICES}")


def frames_ahead(setting: SmoothingSetting) -> int:
    """How many frames "look-ahead" or "look-ahead:FRAMES" waits for; 0 for every other setting."""
    if not isinstance(setting, str):
        return 0
    name, colon, frames = setting.partition(":")
    if name != "look-ahead":
        return 0
    return int(frames) if frames.isascii() and frames.isdecimal() else 0 if colon else AHEAD


def make_smoother(setting: SmoothingSetting, *, patient: bool = False) -> Smoother | None:
    """What a setting means; None for raw maps.

    Args:
        setting: see `check_smoothing`.
        patient: nobody waits for a single frame: one more may wait where another core does a part.

    Raises:
        SettingsError: see `check_smoothing`.
    """
    check_smoothing(setting)
    if setting is None:
        return None
    if not isinstance(setting, str):
        return Smoothing(float(setting))
    if ahead := frames_ahead(setting):
        from .look_ahead import LookAhead

        return LookAhead(ahead, beside=patient and cores() >= SPARE_CORES)
    from .adaptive import Adaptive

    return Adaptive()


class Smoothing(EachFrame):
    """Averages maps over time; starts anew at a cut, a gap, a step back in time or a new size.

    Args:
        seconds: the time constant; larger is calmer and later.

    Raises:
        ValueError: ``seconds`` is not positive.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        if not seconds > 0:
            raise ValueError(f"a time constant is positive, got {seconds} s")
        self.seconds = seconds
        self.reset()

    @property
    def delay(self) -> float:
        """By how many seconds the average lags behind a steady change."""
        return self.seconds

    def reset(self) -> None:
        """Forget the past; the next map passes unchanged."""
        self._average: Values | None = None
        self._thumbnail: Image | None = None
        self._time, self._size = Fraction(0), (0, 0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """The smoothed map of ``frame``, of the size of ``blur``: float32 in [0, 1]."""
        small = thumbnail(np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8))
        elapsed = frame.seconds - self._time
        new = frame.size != self._size
        if self._average is None or new or self._starts_anew(blur, small, elapsed):
            self._average = np.array(blur.values)
        else:
            weight = 1 - math.exp(-float(elapsed) / self.seconds)
            cv2.accumulateWeighted(blur.values, self._average, weight)
        self._thumbnail, self._time, self._size = small, frame.seconds, frame.size
        return BlurMap(np.clip(self._average, 0, 1), blur.radii)

    def _starts_anew(self, blur: BlurMap, small: Image, elapsed: Fraction) -> bool:
        assert self._average is not None
        if blur.values.shape != self._average.shape or not 0 < elapsed <= MAX_GAP:
            return True
        return is_cut(self._thumbnail, small)


def thumbnail(gray: Image) -> Image:
    """A tiny form of a gray picture, by which cuts are told."""
    return np.asarray(cv2.resize(gray, THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def is_cut(before: Image | None, after: Image) -> bool:
    """Whether another shot begins between two thumbnails."""
    return (
        before is None or float(cv2.norm(after, before, cv2.NORM_L1)) > CUT_DIFFERENCE * after.size
    )
