"""Smoothing that lets flicker decay and follows what changes: along the motion, at once in a focus pull.

A running average of maps, carried along by the optical flow of a small picture. Its weight is that of a calm
time constant where a map only flickers, and 1 where it changes: where the changes of neighbouring frames go
the same way (flicker goes to and fro), where two maps in turn are far from the average, or where the flow
does not explain the picture.
"""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np

from .frame import BlurMap, Frame, Image, Values
from .smoothing import MAX_GAP, is_cut, thumbnail

SIDE = 320  # long side of the picture that is worked on
FLOW_SIDE = 32  # pixels under which there is no flow
CALM = 0.4  # seconds, the time constant of what only flickers
# Seconds over which the direction of changes is watched, and what a map keeps at least of what is known.
TREND, TREND_KEPT = 0.12, 0.75
# Of the trend: the share of changes that cancel out is 1 - this. Flicker of independent noise has about .3.
TO_AND_FRO, ONE_WAY = 0.5, 0.8
STILL, MOVING = 0.002, 0.008  # change of P a frame that counts as one
NEAR, FAR = 0.05, 0.15  # distance of the average from the map
COHERENT = 0.1  # of the width: changes of focus are at least so large
TREMOR, STEADY = (
    1.5,
    0.15,
)  # pixels of motion that are averaged over time, and seconds: hands and noise shake
UNEXPLAINED = (12.0, 36.0)  # gray levels that the flow leaves
CHANGING = 0.005  # share of the picture from which it counts as changing


class Adaptive:
    """Smooths maps over time without a visible delay; starts anew at a cut, a gap, or a new size.

    Attributes:
        delay: by how many seconds the map lags behind the picture where it differs from it now by more than
            `NEAR`; 0 where it does not: what changes more slowly is behind by less than that.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next map passes unchanged."""
        self.delay = 0.0
        self._state: Values | None = None  # average, last map, trend, size of changes: h x w x 4
        self._gray: Image | None = None
        self._thumbnail: Image | None = None
        self._motion: Values | None = None
        self._time = Fraction(0)
        self._size = (0, 0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """The smoothed map of ``frame``: float32 H x W in [0, 1]."""
        gray, small = _small(frame.image), thumbnail(frame.image)
        raw = np.asarray(
            cv2.resize(blur.values, gray.shape[::-1], interpolation=cv2.INTER_AREA), np.float32
        )
        elapsed = frame.seconds - self._time
        new = self._state is None or frame.size != self._size or not 0 < elapsed <= MAX_GAP
        if new or is_cut(self._thumbnail, small):
            self.reset()
            nothing = np.zeros_like(raw)
            self._state, result = np.dstack([raw, raw, nothing, nothing]), blur
        else:
            result = self._lifted(blur, self._follow(gray, raw, float(elapsed)) - raw)
        self._gray, self._thumbnail = gray, small
        self._time, self._size = frame.seconds, frame.size
        return result

    def _follow(self, gray: Image, raw: Values, elapsed: float) -> Values:
        """The average after the next map ``raw``, both at the size of ``gray``."""
        assert self._state is not None and self._gray is not None
        at = self._places(gray, elapsed)
        warped = cv2.remap(self._state, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        average, last, trend, size = (np.asarray(each, np.float32) for each in cv2.split(warped))
        reach = max(3, round(COHERENT * gray.shape[1]) | 1)
        off = raw - average
        step, distance, before = (_near(each, reach) for each in (raw - last, off, last - average))
        follows = _one_way(step, trend, size, elapsed)
        follows = np.maximum(follows, _between(_confirmed(distance, before), NEAR, FAR))
        follows = np.maximum(follows, self._unexplained(gray, at))
        calm = 1 - math.exp(-elapsed / CALM)
        weight = calm + (1 - calm) * follows
        average = average + weight * off
        self.delay = _delay(weight, np.abs(distance), elapsed)
        keep = max(TREND_KEPT, math.exp(-elapsed / TREND))
        trend, size = _mixed(trend, step, keep), _mixed(size, np.abs(step), keep)
        self._state = np.dstack([average, raw, trend, size]).astype(np.float32)
        return np.asarray(average, np.float32)

    def _places(self, gray: Image, elapsed: float) -> tuple[Values, Values]:
        """Where each pixel was in the last picture: x and y."""
        assert self._gray is not None
        motion = np.zeros((*gray.shape, 2), np.float32)
        if min(gray.shape) >= FLOW_SIDE:
            motion = np.asarray(self._flow.calc(gray, self._gray, motion), np.float32)
        if self._motion is None or self._motion.shape != motion.shape:
            self._motion = motion
        keep = math.exp(-elapsed / STEADY)
        self._motion = np.asarray(keep * self._motion + (1 - keep) * motion, np.float32)
        far = cv2.magnitude(motion[..., 0], motion[..., 1]) > TREMOR
        used = np.where(far[..., None], motion, self._motion)
        height, width = gray.shape
        x = np.arange(width, dtype=np.float32)[None] + used[..., 0]
        y = np.arange(height, dtype=np.float32)[:, None] + used[..., 1]
        return x, y

    def _unexplained(self, gray: Image, at: tuple[Values, Values]) -> Values:
        """Where the flow fails (things that come into view): 0 to 1."""
        assert self._gray is not None
        seen = cv2.remap(self._gray, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        left = cv2.blur(cv2.absdiff(gray, seen), (5, 5)).astype(np.float32)
        return np.clip((left - UNEXPLAINED[0]) / (UNEXPLAINED[1] - UNEXPLAINED[0]), 0, 1)

    def _lifted(self, blur: BlurMap, change: Values) -> BlurMap:
        """``blur`` with the small ``change`` added: its own detail stays."""
        height, width = blur.values.shape
        large = cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)
        values = cv2.add(blur.values, large)
        return BlurMap(np.asarray(np.clip(values, 0, 1), np.float32))


def _small(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _near(value: Values, reach: int) -> Values:
    """The mean over ``reach`` pixels in each direction."""
    return np.asarray(cv2.blur(value, (reach, reach)), np.float32)


def _mixed(known: Values, new: Values, keep: float) -> Values:
    """What is known of changes after another one."""
    return np.asarray(cv2.addWeighted(known, keep, new, 1 - keep, 0), np.float32)


def _one_way(step: Values, trend: Values, size: Values, elapsed: float) -> Values:
    """Where changes before this one went one way, and this one goes on: 0 to 1."""
    slower = 30 * elapsed  # changes a frame are counted at 30 frames a second
    going = np.abs(trend)
    share = _between(np.asarray(going / (size + 5e-4), np.float32), TO_AND_FRO, ONE_WAY)
    share *= _between(going, STILL * slower, MOVING * slower)
    return np.asarray(share * (step * trend > 0), np.float32)


def _confirmed(distance: Values, before: Values) -> Values:
    """How far the map is off on the same side as the map before: one frame alone proves nothing."""
    smaller = np.minimum(np.abs(distance), np.abs(before))
    return np.asarray(np.where(distance * before > 0, smaller, 0), np.float32)


def _between(value: Values, low: float, high: float) -> Values:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _delay(weight: Values, distance: Values, elapsed: float) -> float:
    """Of an average with these weights where it is away from the map, in seconds."""
    changing = distance > NEAR
    if changing.mean() < CHANGING:
        return 0.0
    used = weight[changing]
    return elapsed * float((1 - used).sum() / used.sum())
