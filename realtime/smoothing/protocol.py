"""What every kind of temporal smoothing is: frames and maps go in, in order, and come out to be shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Image

# A pause longer than this says nothing about the next picture.
MAX_GAP = Fraction(1, 2)
THUMBNAIL = (32, 18)
# Mean difference of two thumbnails (0..255) above which the shot has changed: pans and exposure changes
# stay below it between neighbouring frames.
CUT_DIFFERENCE = 28.0


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


def thumbnail(gray: Image) -> Image:
    """A tiny form of a gray picture, by which cuts are told."""
    return np.asarray(cv2.resize(gray, THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def is_cut(before: Image | None, after: Image) -> bool:
    """Whether another shot begins between two thumbnails."""
    return before is None or float(cv2.norm(after, before, cv2.NORM_L1)) > CUT_DIFFERENCE * after.size
