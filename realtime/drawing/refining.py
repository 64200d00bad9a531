"""Maps that end where the picture's edges are: a guided filter where the map has an edge.

A network's map stops at a quarter of its resolution; lifted to the frame it ends beside the edge. The guided
filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013; its fast form, arXiv 1505.00996) makes the map a
local linear function of the picture, whose edges it so takes over. Only where the map itself has an edge:
where it is even, or goes slowly from one value to another, it stays as it is; no focus is invented there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import cv2
import numpy as np

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Image, Values
from br2focus.realtime.resizing import halvings

if TYPE_CHECKING:
    from torch import Tensor

RefineMode = Literal["off", "fast", "best"]
MODES: tuple[RefineMode, ...] = get_args(RefineMode)
WIDTH = 640  # of the picture that the sizes here are meant for
RADIUS = 6  # of the window in pixels at `WIDTH`
SHRUNK = {"fast": 3, "best": 2}  # how much smaller the filter works
# Of a guide's variance, in its own units (0..1): less is flat.
EPSILON = {"fast": 1e-4, "best": 3e-4}
PASSES = 3  # of "best"; each takes the map of the one before, this much farther from .5
SHARPER = 1.3
COLOUR = 0.6  # of red less blue, the second guide of "best": chosen of .4, .6, .8
REACH = 4  # pixels around an edge of the map that move with it, at `WIDTH`
# Of the map within `REACH`: up to the first it is even, from the second on an edge.
SPANS = (0.05, 0.3)

Plane = TypeVar("Plane", Values, "Tensor")


def check_mode(mode: str) -> None:
    """Refuse what is no mode.

    Raises:
        SettingsError: it is none of `MODES`.
    """
    if mode not in MODES:
        raise SettingsError(f"refine {mode!r}: choose one of {', '.join(MODES)}")


def refine(image: Image, blur: BlurMap, mode: RefineMode) -> BlurMap:
    """``blur`` at the size of ``image``, with its edges moved to those of the picture.

    Args:
        image: uint8 BGR H x W x 3.
        blur: its map, of any size.
        mode: "off" only brings the map to H x W; "fast" is guided by the luma, "best" by colour too, in
            `PASSES`. A map that follows from blur radii loses nothing that is in focus.
    """
    height, width = image.shape[:2]
    if mode == "off":
        return blur.at((width, height))
    size = small_size(width, height, mode)
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    luma = _small(gray, size) * np.float32(1 / 255)
    start = _small(blur.values, size)
    mean = _mean(mode)
    if mode == "fast":
        gain, offset = nearest_line(luma, start, mean)
    else:
        gain, offset = nearest_lines(luma, _colour(image, size), start, mean)
    share = _edges(start, mode)
    # What is added to the map, blended while it is small: fresh memory of a frame's size costs more than
    # the arithmetic, so there are two of these, and the first becomes the result.
    change, base = (
        np.asarray(cv2.resize(each, (width, height)), np.float32)
        for each in (share * gain, share * (offset - start))
    )
    cv2.multiply(change, gray, change, scale=1 / 255, dtype=cv2.CV_32F)
    change += base
    whole = blur.at((width, height)).values
    change += whole
    # Thin things in focus are in such a map, and would be lost in the line of their window.
    if blur.radii is not None:
        cv2.min(change, whole, dst=change)
    return BlurMap(np.clip(change, 0, 1, out=change))


def small_size(width: int, height: int, mode: RefineMode) -> tuple[int, int]:
    """Width and height of the picture that the filter works on."""
    scale = max(1.0, width / WIDTH) * SHRUNK[mode]
    return max(1, round(width / scale)), max(1, round(height / scale))


def nearest_line(luma: Plane, target: Plane, mean: Callable[[Any], Any]) -> tuple[Plane, Plane]:
    """Gain and offset of the line of ``luma`` nearest to ``target`` around every pixel.

    Args:
        luma, target: in [0, 1], of one size.
        mean: over the window around every pixel.
    """
    mean_luma, mean_target = mean(luma), mean(target)
    covariance = mean(luma * target) - mean_luma * mean_target
    variance = mean(luma * luma) - mean_luma * mean_luma
    gain = covariance / (variance + EPSILON["fast"])
    return mean(gain), mean(mean_target - gain * mean_luma)


def nearest_lines(
    luma: Plane, colour: Plane, target: Plane, mean: Callable[[Any], Any]
) -> tuple[Plane, Plane]:
    """`nearest_line` with a second guide, in `PASSES`; its part is in the offset, which is as coarse."""
    mean_luma, mean_colour = mean(luma), mean(colour)
    first = mean(luma * luma) - mean_luma * mean_luma + EPSILON["best"]
    second = mean(colour * colour) - mean_colour * mean_colour + EPSILON["best"]
    both = mean(luma * colour) - mean_luma * mean_colour
    determinant = first * second - both * both
    gain: Any = 0 * target
    offset: Any = target
    now: Any = target
    for number in range(PASSES):
        if number:
            now = (SHARPER * (gain * luma + offset - 0.5) + 0.5).clip(0, 1)
        mean_now = mean(now)
        with_luma = mean(luma * now) - mean_luma * mean_now
        with_colour = mean(colour * now) - mean_colour * mean_now
        gain = (with_luma * second - with_colour * both) / determinant
        tint = (with_colour * first - with_luma * both) / determinant
        offset = mean(mean_now - gain * mean_luma - tint * mean_colour) + mean(tint) * colour
        gain = mean(gain)
    return gain, offset


def edge_share(span: Plane) -> Plane:
    """How much of an edge a map is whose values span so much: 0 to 1."""
    beyond: Any = (span - SPANS[0]) / (SPANS[1] - SPANS[0])
    share: Plane = beyond.clip(0, 1)
    return share


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
    span = np.asarray(cv2.dilate(values, window) - cv2.erode(values, window), np.float32)
    return np.asarray(cv2.blur(edge_share(span), (3, 3)), np.float32)
