"""Maps that end where the picture's edges are: a guided filter where the map has an edge.

A network's map stops at a quarter of its resolution; lifted to the frame it ends beside the edge. The guided
filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013; its fast form, arXiv 1505.00996) makes the map a
local linear function of the picture, whose edges it so takes over. Only where the map itself has an edge:
where it is even, or goes slowly from one value to another, it stays as it is; no focus is invented there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from .errors import SettingsError
from .frame import BlurMap, Image, Values
from .resizing import halvings

RefineMode = Literal["off", "fast", "best"]
MODES: tuple[RefineMode, ...] = get_args(RefineMode)
WIDTH = 640  # of the picture that the sizes here are meant for
RADIUS = 6  # of the window in pixels at `WIDTH`
SHRUNK = {"fast": 3, "best": 2}  # how much smaller the filter works
EPSILON = {
    "fast": 1e-4,
    "best": 3e-4,
}  # of a guide's variance, in its own units (0..1): less is flat
PASSES = 3  # of "best"; each takes the map of the one before, this much farther from .5
SHARPER = 1.3
COLOUR = 0.6  # of red less blue, the second guide of "best": chosen of .4, .6, .8
REACH = 4  # pixels around an edge of the map that move with it, at `WIDTH`
SPANS = (
    0.05,
    0.3,
)  # of the map within `REACH`: up to the first it is even, from the second on an edge

Line = tuple[Values, Values]
"""Gain and offset that turn the luma into a map, at each place."""


def check_mode(mode: str) -> None:
    """Refuse what is no mode.

    Raises:
        SettingsError: it is none of `MODES`.
    """
    if mode not in MODES:
        raise SettingsError(f"refine {mode!r}: choose one of {', '.join(MODES)}")


def refine(image: Image, blur: BlurMap, mode: RefineMode) -> BlurMap:
    """``blur`` with its edges moved to those of ``image``.

    Args:
        image: uint8 BGR H x W x 3.
        blur: its map.
        mode: "off" gives ``blur`` itself; "fast" is guided by the luma, "best" by colour too, in `PASSES`.
    """
    if mode == "off":
        return blur
    values, (height, width) = blur.values, blur.values.shape
    size = small_size(width, height, mode)
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    luma = _small(gray, size) * np.float32(1 / 255)
    start = _small(values, size)
    line = _line(luma, start) if mode == "fast" else _best(luma, _colour(image, size), start)
    gain, offset = line
    share = _edges(start, mode)
    # What is added to the map, blended while it is small: fresh memory of a frame's size costs more than
    # the arithmetic, so there are two of these, and the first becomes the result.
    change, base = (
        np.asarray(cv2.resize(each, (width, height)), np.float32)
        for each in (share * gain, share * (offset - start))
    )
    cv2.multiply(change, gray, change, scale=1 / 255, dtype=cv2.CV_32F)
    change += base
    change += values
    return BlurMap(np.clip(change, 0, 1, out=change))


def small_size(width: int, height: int, mode: RefineMode) -> tuple[int, int]:
    """Width and height of the picture that the filter works on."""
    scale = max(1.0, width / WIDTH) * SHRUNK[mode]
    return max(1, round(width / scale)), max(1, round(height / scale))


def _line(luma: Values, target: Values) -> Line:
    """The line that is nearest to ``target`` around every pixel, mean of those of its neighbours."""
    mean = _mean("fast")
    mean_luma, mean_target = mean(luma), mean(target)
    covariance = mean(luma * target) - mean_luma * mean_target
    variance = mean(luma * luma) - mean_luma * mean_luma
    gain = np.asarray(covariance / (variance + EPSILON["fast"]), np.float32)
    return mean(gain), mean(mean_target - gain * mean_luma)


def _best(luma: Values, colour: Values, target: Values) -> Line:
    """The same with a second guide, whose part is in the offset: it has no more detail than this."""
    mean = _mean("best")
    mean_luma, mean_colour = mean(luma), mean(colour)
    first = mean(luma * luma) - mean_luma * mean_luma + np.float32(EPSILON["best"])
    second = mean(colour * colour) - mean_colour * mean_colour + np.float32(EPSILON["best"])
    both = mean(luma * colour) - mean_luma * mean_colour
    determinant = first * second - both * both
    gain, offset = np.zeros_like(target), target
    for number in range(PASSES):
        if number:
            target = np.clip(SHARPER * (gain * luma + offset - 0.5) + 0.5, 0, 1)
        mean_target = mean(target)
        with_luma = mean(luma * target) - mean_luma * mean_target
        with_colour = mean(colour * target) - mean_colour * mean_target
        gain = (with_luma * second - with_colour * both) / determinant
        tint = (with_colour * first - with_luma * both) / determinant
        offset = mean(mean_target - gain * mean_luma - tint * mean_colour)
        offset += mean(tint) * colour
        gain = mean(gain)
    return gain, offset


def _colour(image: Image, size: tuple[int, int]) -> Values:
    small = _small(image, size)
    return np.asarray((small[..., 2] - small[..., 0]) * np.float32(COLOUR / 255))


def _mean(mode: RefineMode) -> Callable[[Values], Values]:
    side = 2 * (RADIUS // SHRUNK[mode]) + 1
    return lambda values: np.asarray(cv2.blur(values, (side, side)), np.float32)


def _small(values: Image | Values, size: tuple[int, int]) -> Values:
    *steps, last = halvings(values.shape[1], values.shape[0], size)
    for step in steps:
        values = cv2.resize(values, step)  # type: ignore[assignment]  # the dtype stays as it is
    # Whole levels are too coarse for the filter only after this step, which is not a plain mean of four.
    return np.asarray(cv2.resize(values.astype(np.float32, copy=False), last), np.float32)


def _edges(values: Values, mode: RefineMode) -> Values:
    """1 where the small map ``values`` has an edge, 0 where it is even, soft between."""
    side = 2 * (REACH // SHRUNK[mode]) + 1
    window = np.ones((side, side), np.uint8)
    span = cv2.subtract(cv2.dilate(values, window), cv2.erode(values, window))
    share = np.clip((span - SPANS[0]) / (SPANS[1] - SPANS[0]), 0, 1)
    return np.asarray(cv2.blur(share, (3, 3)), np.float32)
