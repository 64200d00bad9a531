"""The interface of temporal smoothers: they take frames with their maps in order and return maps to show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Image

# Seconds. After a longer gap, the earlier frames say nothing about the next one.
MAX_GAP = Fraction(1, 2)
THUMBNAIL = (32, 18)
# Mean difference of two thumbnails (0..255) above which the shot has changed. Pans and exposure changes
# between neighbouring frames stay below it.
CUT_DIFFERENCE = 28.0


class Smoothed(NamedTuple):
    """A frame with its own map and the map to show."""

    frame: Frame
    raw: BlurMap
    shown: BlurMap


class Smoother(Protocol):
    """Takes frames with their maps in order, and returns them in order, each with the map to show."""

    @property
    def delay(self) -> float:
        """Lag of the shown map behind its own frame in seconds."""

    def reset(self) -> None:
        """Clear the history and discard waiting frames; the next map passes unchanged."""

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """Add the next frame; return the frames that are ready now."""

    def flush(self) -> list[Smoothed]:
        """Return the frames that still wait; the next map passes unchanged."""


class EachFrame(ABC):
    """Base class of smoothers without latency: calling one returns the map to show for a frame."""

    @abstractmethod
    def reset(self) -> None:
        """Clear the history; the next map passes unchanged."""

    @abstractmethod
    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """Return the map to show for ``frame``, of the size of ``blur``: float32 in [0, 1]."""

    def add(self, frame: Frame, blur: BlurMap) -> list[Smoothed]:
        """Return the frame itself."""
        return [Smoothed(frame, blur, self(frame, blur))]

    def flush(self) -> list[Smoothed]:
        """Return nothing, since no frame waits."""
        self.reset()
        return []


def thumbnail(gray: Image) -> Image:
    """Return a thumbnail of a gray image, for cut detection."""
    return np.asarray(cv2.resize(gray, THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def is_cut(before: Image | None, after: Image) -> bool:
    """Return whether a new shot begins between two thumbnails."""
    return before is None or float(cv2.norm(after, before, cv2.NORM_L1)) > CUT_DIFFERENCE * after.size
