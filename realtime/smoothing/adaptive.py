"""Motion-compensated smoothing that averages out flicker but follows a focus pull at once.

It keeps a running average of the maps, warped by the optical flow of a downscaled image; values near 0.5 get
less weight. The average is discarded where the map really changes: where the changes of neighbouring frames
have the same direction (flicker alternates), where two successive maps, or one by a large amount, differ from
the average, where the image itself becomes finer or coarser, or where the flow does not explain the image.
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

SIDE = 320  # long side of the working image in pixels
FLOW_SIDE = 32  # smallest side in pixels for which the flow is computed
CALM = 0.4  # time constant of the average in seconds, where the map only flickers
UNDECIDED = 0.05  # weight of a value of 0.5, where 0 and 1 have weight 1
# Time constant in seconds over which the direction of changes is tracked, and the smallest share of the past
# that is kept per map.
TREND, TREND_KEPT = 0.12, 0.75
# Limits of the trend's consistency: 1 minus the share of changes that cancel out. Independent flicker noise
# has about 0.3.
TO_AND_FRO, ONE_WAY = 0.5, 0.8
STILL, MOVING = 0.002, 0.008  # limits of the change of P per frame that counts as a change
NEAR, FAR = 0.05, 0.15  # limits of the distance of the average from two successive maps
ALONE_NEAR, ALONE_FAR = 0.15, 0.35  # the same for a single map
COHERENT = 0.1  # smallest extent of a focus change, as a share of the width
# Motion up to this many pixels is averaged over time, with this time constant in seconds, to suppress hand
# tremor and noise.
TREMOR, STEADY = 1.5, 0.15
# Limits of the change in log fine detail around a pixel (noise causes 0.07, motion up to 0.5), and of its
# median over the image (motion causes 0.1); seconds for which maps drift afterwards.
REFOCUSED, EVERYWHERE, SETTLING = (0.08, 0.16), (0.1, 0.15), 0.5
COARSE = 4  # downscaling factor of the fine-detail image
UNEXPLAINED = (12.0, 36.0)  # limits of the residual after motion compensation in gray levels
CHANGING = 0.005  # share of the image from which on it counts as changing


@dataclass(frozen=True, eq=False)
class Step:
    """State of the smoothing after one frame; arrays have the working size, float32 h x w.

    Attributes:
        raw: the frame's own map.
        own: weight of ``raw`` per pixel.
        average: running average of the maps.
        mass: total weight of the average.
        kept: share of the earlier weight that still counts, 0 to 1; None if there was no earlier frame.
        places: h x w x 2, x and y of each pixel in the previous frame; None if there was none.
    """

    raw: Values
    own: Values
    average: Values
    mass: Values
    kept: Values | None = None
    places: Values | None = None


class AdaptiveSmoother(EachFrame):
    """Smooths maps over time without a visible delay; restarts at a cut, a gap, or a new size.

    Attributes:
        delay: lag of the map behind the image in seconds, where the average currently differs from the
            frame's own map by more than `NEAR`; 0 if it does not. Slower changes lag by less than that
            difference.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.reset()

    def reset(self) -> None:
        """Clear the history; the next map passes unchanged."""
        self.delay = 0.0
        self._step: Step | None = None
        self._changes: tuple[Values, Values] | None = None  # their trend and their magnitude
        self._detail = self._refocus = np.zeros((0, 0), np.float32)
        self._gray: Image | None = None
        self._thumbnail: Image | None = None
        self._motion: Values | None = None
        self._time = Fraction(0)
        self._size = (0, 0)

    def __call__(self, frame: Frame, blur: BlurMap) -> BlurMap:
        """Return the smoothed map of ``frame``, of the size of ``blur``: float32 in [0, 1]."""
        step = self.step(frame, blur)
        return blur if step.kept is None else lifted(blur, step.average - step.raw)

    def step(self, frame: Frame, blur: BlurMap) -> Step:
        """Process the next frame and return the new state."""
        gray = _gray(frame.image)
        small, elapsed = thumbnail(gray), frame.seconds - self._time
        raw = halved(blur.values, (gray.shape[1], gray.shape[0]))
        before = self._step
        new = before is None or frame.size != self._size or not 0 < elapsed <= MAX_GAP
        if before is None or new or is_cut(self._thumbnail, small):
            self.reset()
            own = _weights(raw)
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
        # Blurred, since a hard border between replaced and averaged values would be visible.
        kept = np.asarray((1 - mean_around(follows)) * np.float32(math.exp(-elapsed / CALM)))
        own = _weights(raw)
        mass = np.asarray(own + kept * mass)
        weight = own / mass
        self.delay = _delay(weight, np.abs(distance), elapsed)
        keep = max(TREND_KEPT, math.exp(-elapsed / TREND))
        self._changes = _mixed(trend, change, keep), _mixed(size, np.abs(change), keep)
        return Step(raw, own, average + weight * off, mass, kept, places)

    def _places(self, gray: Image, elapsed: float) -> Values:
        """Return x and y of each pixel in the previous image."""
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
        """Return where the whole image became finer or coarser, now or a moment ago: 0 to 1."""
        detail = _detail(gray)
        change = np.asarray(np.abs(np.log((detail + 1) / (self._detail + 1))), np.float32)
        everywhere = np.asarray(np.median(change), np.float32)
        changed = between(change, *REFOCUSED) * between(everywhere, *EVERYWHERE)
        self._detail = detail
        self._refocus = np.maximum(changed, self._refocus * np.float32(math.exp(-elapsed / SETTLING)))
        return np.asarray(cv2.resize(self._refocus, gray.shape[::-1]), np.float32)

    def _unexplained(self, gray: Image, places: Values) -> Values:
        """Return where the flow fails, such as at newly visible objects: 0 to 1."""
        assert self._gray is not None
        left = cv2.absdiff(gray, moved(self._gray, places))
        left = cv2.blur(left, (5, 5)).astype(np.float32)
        return np.clip((left - UNEXPLAINED[0]) / (UNEXPLAINED[1] - UNEXPLAINED[0]), 0, 1)


def _detail(gray: Image) -> Values:
    """Return the amount of fine detail around each pixel, downscaled by `COARSE`."""
    answer = cv2.convertScaleAbs(cv2.Laplacian(gray, cv2.CV_16S))
    height, width = (max(1, side // COARSE) for side in gray.shape)
    small = cv2.resize(answer, (width, height), interpolation=cv2.INTER_AREA)
    return mean_around(small.astype(np.float32))


def lifted(blur: BlurMap, change: Values) -> BlurMap:
    """Return ``blur`` plus the upscaled ``change``, which keeps the map's own fine detail."""
    height, width = blur.values.shape
    values = np.asarray(cv2.resize(change, (width, height)), np.float32)
    values += blur.values
    return BlurMap(np.clip(values, 0, 1, out=values), blur.radii)


def moved(values: Picture, places: Values) -> Picture:
    """Warp ``values`` by sampling them at ``places``; the dtype is kept."""
    border = cv2.BORDER_REPLICATE
    # None means that x and y are in one array, which the stubs do not cover; an empty array yields NaN.
    second: Any = None
    return np.asarray(cv2.remap(values, places, second, cv2.INTER_LINEAR, borderMode=border), values.dtype)


@lru_cache(maxsize=4)
def grid(height: int, width: int) -> Values:
    """Return the coordinates of each pixel: float32 h x w x 2, x and y."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    places = np.dstack([columns, rows])
    places.flags.writeable = False
    return places


def mean_around(values: Values) -> Values:
    """Return the mean over the smallest extent of a focus change."""
    reach = max(3, round(COHERENT * values.shape[1]) | 1)
    return np.asarray(cv2.blur(values, (reach, reach)), np.float32)


def between(value: Values, low: float, high: float) -> Values:
    """Return a smooth step: 0 up to ``low``, 1 from ``high`` on."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _gray(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = halved(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _weights(raw: Values) -> Values:
    """Return the weight of each value in an average."""
    return np.asarray(UNDECIDED + (1 - UNDECIDED) * np.abs(2 * raw - 1), np.float32)


def _mixed(known: Values, new: Values, keep: float) -> Values:
    """Blend old and new values."""
    return np.asarray(cv2.addWeighted(known, keep, new, 1 - keep, 0), np.float32)


def _one_way(change: Values, trend: Values, size: Values, elapsed: float) -> Values:
    """Return where earlier changes had one direction and this one continues it: 0 to 1."""
    slower = 30 * elapsed  # the limits per frame are for 30 frames per second
    going = np.abs(trend)
    share = between(np.asarray(going / (size + 5e-4), np.float32), TO_AND_FRO, ONE_WAY)
    share *= between(going, STILL * slower, MOVING * slower)
    return np.asarray(share * (change * trend > 0), np.float32)


def _away(distance: Values, earlier: Values) -> Values:
    """Return where the average is off: on the same side for two maps, or by much for one; 0 to 1."""
    off = np.abs(distance)
    both = np.where(distance * earlier > 0, np.minimum(off, np.abs(earlier)), np.float32(0))
    return np.maximum(between(both, NEAR, FAR), between(off, ALONE_NEAR, ALONE_FAR))


def _delay(weight: Values, distance: Values, elapsed: float) -> float:
    """Return the lag in seconds of an average with these weights, where it differs from the map."""
    changing = distance > NEAR
    if changing.mean() < CHANGING:
        return 0.0
    used = weight[changing]
    return elapsed * float((1 - used).sum() / used.sum())
