"""Aligns the edges of maps with those of the image, by a guided filter.

A network's map has a quarter of its resolution; upscaled to the frame, its edges miss those of the image. The
guided filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013; fast version: arXiv 1505.00996) makes the
map a local linear function of the image and so transfers the image's edges. It is applied only where the map
itself has an edge. Where the map is flat or changes slowly it stays unchanged, so no focus is invented there.
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
WIDTH = 640  # image width for which the sizes below are given
RADIUS = 6  # radius of the filter window in pixels at `WIDTH`
SHRUNK = {"fast": 3, "best": 2}  # downscaling factor of the filter
# Regularization: a guide with less variance, for values 0..1, counts as flat.
EPSILON = {"fast": 1e-4, "best": 3e-4}
PASSES = 3  # number of passes of "best"; each takes the previous map, pushed away from 0.5 by `SHARPER`
SHARPER = 1.3
COLOUR = 0.6  # scale of red minus blue, the second guide of "best"; chosen from 0.4, 0.6, 0.8
REACH = 4  # pixels around an edge of the map that are adjusted, at `WIDTH`
# Range of the map's values within `REACH`: flat up to the first limit, an edge from the second on.
SPANS = (0.05, 0.3)

Plane = TypeVar("Plane", Values, "Tensor")


def check_mode(mode: str) -> None:
    """Reject an unknown mode.

    Raises:
        SettingsError: it is not one of `MODES`.
    """
    if mode not in MODES:
        raise SettingsError(f"refine {mode!r}: choose one of {', '.join(MODES)}")


def refine(image: Image, blur: BlurMap, mode: RefineMode) -> BlurMap:
    """Return ``blur`` at the size of ``image``, with its edges aligned with those of the image.

    Args:
        image: uint8 BGR H x W x 3.
        blur: its map, at any size.
        mode: "off" only resizes the map to H x W; "fast" is guided by luma, "best" also by colour, in
            `PASSES` passes. In a map derived from blur radii, everything in focus stays in focus.
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
    # The correction is blended at low resolution, since allocating memory of the frame's size costs more than
    # the arithmetic. Only two such arrays are needed, and the first becomes the result.
    change, base = (
        np.asarray(cv2.resize(each, (width, height)), np.float32)
        for each in (share * gain, share * (offset - start))
    )
    cv2.multiply(change, gray, change, scale=1 / 255, dtype=cv2.CV_32F)
    change += base
    whole = blur.at((width, height)).values
    change += whole
    # Such a map resolves thin objects in focus, which the linear fit over a window would lose.
    if blur.radii is not None:
        cv2.min(change, whole, dst=change)
    return BlurMap(np.clip(change, 0, 1, out=change))


def small_size(width: int, height: int, mode: RefineMode) -> tuple[int, int]:
    """Return width and height of the image that the filter works on."""
    scale = max(1.0, width / WIDTH) * SHRUNK[mode]
    return max(1, round(width / scale)), max(1, round(height / scale))


def nearest_line(luma: Plane, target: Plane, mean: Callable[[Any], Any]) -> tuple[Plane, Plane]:
    """Return gain and offset of the linear fit of ``target`` to ``luma`` around every pixel.

    Args:
        luma, target: in [0, 1], of the same size.
        mean: mean over the window around every pixel.
    """
    mean_luma, mean_target = mean(luma), mean(target)
    covariance = mean(luma * target) - mean_luma * mean_target
    variance = mean(luma * luma) - mean_luma * mean_luma
    gain = covariance / (variance + EPSILON["fast"])
    return mean(gain), mean(mean_target - gain * mean_luma)


def nearest_lines(
    luma: Plane, colour: Plane, target: Plane, mean: Callable[[Any], Any]
) -> tuple[Plane, Plane]:
    """Return `nearest_line` with a second guide, after `PASSES` passes.

    The offset includes the part of the second guide, which has the same low resolution.
    """
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
    """Return how much a range of map values counts as an edge, 0 to 1."""
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
        values = cv2.resize(values, step)  # type: ignore[assignment]  # the dtype does not change
    # Only this step needs floats: it is not a plain mean of four pixels, and integer levels would be too
    # coarse for the filter.
    return np.asarray(cv2.resize(values.astype(np.float32, copy=False), last), np.float32)


def _edges(values: Values, mode: RefineMode) -> Values:
    """Return 1 where the small map ``values`` has an edge, 0 where it is flat, with a soft transition."""
    side = 2 * (REACH // SHRUNK[mode]) + 1
    window = np.ones((side, side), np.uint8)
    span = np.asarray(cv2.dilate(values, window) - cv2.erode(values, window), np.float32)
    return np.asarray(cv2.blur(edge_share(span), (3, 3)), np.float32)
