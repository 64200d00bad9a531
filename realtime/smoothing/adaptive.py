"""Smoothing that lets flicker decay and follows what changes: along the motion, at once in a focus pull.

A running average of maps, carried along by the optical flow of a small picture; what is near .5 counts less
in it. It is forgotten where the map changes: where the changes of neighbouring frames go the same way
(flicker goes to and fro), where two maps in turn, or one by much, are far from it, where the picture itself
becomes finer or coarser, or where the flow does not explain it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from br2focus.realtime.frame import BlurMap, Frame, Image, Values
from br2focus.realtime.resizing import Picture, halved

from .protocol import MAX_GAP, EachFrame, is_cut, thumbnail

SIDE = 320  # long side of the picture that is worked on
FLOW_SIDE = 32  # pixels under which there is no flow
CALM = 0.4  # seconds, the time constant of what only flickers
UNDECIDED = 0.05  # what a value of .5 counts, where 0 and 1 count 1
# Seconds over which the direction of changes is watched, and what a map keeps at least of what is known.
TREND, TREND_KEPT = 0.12, 0.75
# Of the trend: the share of changes that cancel out is 1 - this. Flicker of independent noise has about .3.
TO_AND_FRO, ONE_WAY = 0.5, 0.8
STILL, MOVING = 0.002, 0.008  # change of P a frame that counts as one
NEAR, FAR = 0.05, 0.15  # distance of the average from the map, where the map before says so too
ALONE_NEAR, ALONE_FAR = 0.15, 0.35  # and where it does not
COHERENT = 0.1  # of the width: changes of focus are at least so large
# Pixels of motion that are averaged over time, and seconds: hands and noise shake.
TREMOR, STEADY = 1.5, 0.15
# Change of the logarithm of fine structure, around a pixel (noise makes .07, motion up to .5), and its median
# over the picture (motion makes .1); seconds for which maps wander after it.
REFOCUSED, EVERYWHERE, SETTLING = (0.08, 0.16), (0.1, 0.15), 0.5
COARSE = 4  # how much smaller the picture of fine structure is
UNEXPLAINED = (12.0, 36.0)  # gray levels that the flow leaves
CHANGING = 0.005  # share of the picture from which it counts as changing


@dataclass(frozen=True, eq=False)
class Step:
    """What smoothing knows after one frame; all of the small picture's size, float32 h x w.

    Attributes:
        raw: the frame's own map.
        own: what it counts at each place.
        average: of the maps so far.
        mass: what these count together.
        kept: share of what was known before that still counts, 0 to 1; None where nothing was.
        places: h x w x 2, where each pixel was in the frame before, x and y; None where there is none.
    """

    raw: Values
    own: Values
    average: Values
    mass: Values
    kept: Values | None = None
    places: Values | None = None


class AdaptiveSmoother(EachFrame):
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
        self._step: Step | None = None
        self._changes: tuple[Values, Values] | None = None  # their trend, and their size
        self._detail = self._refocus = np.zeros((0, 0), np.float32)
        self._gray: Image | None = None
        self._thumbnail: Image | None = None
        self._motion: Values | None = None
        self._time = Fraction(0)
        self._size = (0, 0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """The smoothed map of ``frame``, of the size of ``blur``: float32 in [0, 1]."""
        step = self.step(frame, blur)
        return blur if step.kept is None else lifted(blur, step.average - step.raw)

    def step(self, frame: Frame, blur: BlurMap) -> Step:
        """Take the next frame."""
        gray = _gray(frame.image)
        small, elapsed = thumbnail(gray), frame.seconds - self._time
        raw = halved(blur.values, (gray.shape[1], gray.shape[0]))
        before = self._step
        new = before is None or frame.size != self._size or not 0 < elapsed <= MAX_GAP
        if before is None or new or is_cut(self._thumbnail, small):
            self.reset()
            own = _counts(raw)
            self._changes = np.zeros_like(raw), np.zeros_like(raw)
            self._detail = _detail(gray)
            self._refocus = np.zeros_like(self._detail)
            step = Step(raw, own, raw, own)
        else:
            step = self._follow(before, gray, raw, float(elapsed))
        self._step, self._gray, self._thumbnail = step, gray, small
        self._time, self._size = frame.seconds, frame.size
        return step

    def _follow(self, before: Step, gray: Image, raw: Values, elapsed: float) -> Step:
        assert self._changes is not None
        places = self._places(gray, elapsed)
        known = np.asarray(cv2.merge([before.average, before.mass, *self._changes]), np.float32)
        average, mass, trend, size = (
            np.asarray(each, np.float32) for each in cv2.split(moved(known, places))
        )
        last = moved(before.raw, places)
        off = raw - average
        change, distance, earlier = map(mean_around, (raw - last, off, last - average))
        follows = _one_way(change, trend, size, elapsed)
        follows = np.maximum(follows, _away(distance, earlier))
        follows = np.maximum(follows, self._refocused(gray, elapsed))
        follows = np.maximum(follows, self._unexplained(gray, places))
        # Soft, for a rim between what was taken and what was averaged would be seen.
        kept = np.asarray((1 - mean_around(follows)) * np.float32(math.exp(-elapsed / CALM)))
        own = _counts(raw)
        mass = np.asarray(own + kept * mass)
        weight = own / mass
        self.delay = _delay(weight, np.abs(distance), elapsed)
        keep = max(TREND_KEPT, math.exp(-elapsed / TREND))
        self._changes = _mixed(trend, change, keep), _mixed(size, np.abs(change), keep)
        return Step(raw, own, average + weight * off, mass, kept, places)

    def _places(self, gray: Image, elapsed: float) -> Values:
        """Where each pixel was in the last picture: x and y."""
        assert self._gray is not None
        motion = np.zeros((*gray.shape, 2), np.float32)
        if min(gray.shape) >= FLOW_SIDE:
            motion = np.asarray(self._flow.calc(gray, self._gray, motion), np.float32)
        if self._motion is None or self._motion.shape != motion.shape:
            self._motion = motion
        self._motion = _mixed(self._motion, motion, math.exp(-elapsed / STEADY))
        far = cv2.magnitude(motion[..., 0], motion[..., 1]) > TREMOR
        used = np.where(far[..., None], motion, self._motion)
        return np.asarray(used + grid(*gray.shape), np.float32)

    def _refocused(self, gray: Image, elapsed: float) -> Values:
        """Where all of the picture has become finer or coarser, now or a moment ago: 0 to 1."""
        detail = _detail(gray)
        change = np.asarray(np.abs(np.log((detail + 1) / (self._detail + 1))), np.float32)
        everywhere = np.asarray(np.median(change), np.float32)
        changed = between(change, *REFOCUSED) * between(everywhere, *EVERYWHERE)
        self._detail = detail
        self._refocus = np.maximum(changed, self._refocus * np.float32(math.exp(-elapsed / SETTLING)))
        return np.asarray(cv2.resize(self._refocus, gray.shape[::-1]), np.float32)

    def _unexplained(self, gray: Image, places: Values) -> Values:
        """Where the flow fails (things that come into view): 0 to 1."""
        assert self._gray is not None
        left = cv2.absdiff(gray, moved(self._gray, places))
        left = cv2.blur(left, (5, 5)).astype(np.float32)
        return np.clip((left - UNEXPLAINED[0]) / (UNEXPLAINED[1] - UNEXPLAINED[0]), 0, 1)


def _detail(gray: Image) -> Values:
    """How much fine structure is around each pixel, in a picture `COARSE` times smaller."""
    answer = cv2.convertScaleAbs(cv2.Laplacian(gray, cv2.CV_16S))
    height, width = (max(1, side // COARSE) for side in gray.shape)
    small = cv2.resize(answer, (width, height), interpolation=cv2.INTER_AREA)
    return mean_around(small.astype(np.float32))


def lifted(blur: BlurMap, change: Values) -> BlurMap:
    """``blur`` with the small ``change`` added: its own detail stays."""
    height, width = blur.values.shape
    values = np.asarray(cv2.resize(change, (width, height)), np.float32)
    values += blur.values
    return BlurMap(np.clip(values, 0, 1, out=values), blur.radii)


def moved(values: Picture, places: Values) -> Picture:
    """``values`` carried from where ``places`` are; of the same dtype."""
    border = cv2.BORDER_REPLICATE
    # None says that x and y are in one array, which the stubs do not know; an empty array gives NaN.
    second: Any = None
    return np.asarray(cv2.remap(values, places, second, cv2.INTER_LINEAR, borderMode=border), values.dtype)


@lru_cache(maxsize=4)
def grid(height: int, width: int) -> Values:
    """The place of each pixel: float32 h x w x 2, x and y."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    places = np.dstack([columns, rows])
    places.flags.writeable = False
    return places


def mean_around(values: Values) -> Values:
    """The mean over what a change of focus covers at least."""
    reach = max(3, round(COHERENT * values.shape[1]) | 1)
    return np.asarray(cv2.blur(values, (reach, reach)), np.float32)


def between(value: Values, low: float, high: float) -> Values:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _gray(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = halved(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _counts(raw: Values) -> Values:
    """What each value counts in an average."""
    return np.asarray(UNDECIDED + (1 - UNDECIDED) * np.abs(2 * raw - 1), np.float32)


def _mixed(known: Values, new: Values, keep: float) -> Values:
    """What is known after something new."""
    return np.asarray(cv2.addWeighted(known, keep, new, 1 - keep, 0), np.float32)


def _one_way(change: Values, trend: Values, size: Values, elapsed: float) -> Values:
    """Where changes before this one went one way, and this one goes on: 0 to 1."""
    slower = 30 * elapsed  # changes a frame are counted at 30 frames a second
    going = np.abs(trend)
    share = between(np.asarray(going / (size + 5e-4), np.float32), TO_AND_FRO, ONE_WAY)
    share *= between(going, STILL * slower, MOVING * slower)
    return np.asarray(share * (change * trend > 0), np.float32)


def _away(distance: Values, earlier: Values) -> Values:
    """Where the map is off, on the same side as the map before, or by much: 0 to 1."""
    off = np.abs(distance)
    both = np.where(distance * earlier > 0, np.minimum(off, np.abs(earlier)), np.float32(0))
    return np.maximum(between(both, NEAR, FAR), between(off, ALONE_NEAR, ALONE_FAR))


def _delay(weight: Values, distance: Values, elapsed: float) -> float:
    """Of an average with these weights where it is away from the map, in seconds."""
    changing = distance > NEAR
    if changing.mean() < CHANGING:
        return 0.0
    used = weight[changing]
    return elapsed * float((1 - used).sum() / used.sum())
