"""Maps that end where the picture's edges are: a guided filter in a band around what is undecided.

A network's map stops at a quarter of its resolution; lifted to the frame it ends beside the edge. The guided
filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013; its fast form, arXiv 1505.00996) makes the map a
local linear function of the picture, whose edges it so takes over. Only near P between .2 and .8: flat
regions keep their value, and no focus is invented in them.
"""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from .errors import SettingsError
from .frame import BlurMap, Image, Values

RefineMode = Literal["off", "fast", "best"]
MODES: tuple[RefineMode, ...] = get_args(RefineMode)
PASSES = {"fast": 1, "best": 3}
WIDTH = 640  # of the picture that the sizes here are meant for
RADIUS, SHRUNK = 4, 2  # of the window in pixels at `WIDTH`, and how much smaller the filter works
EPSILON = 1e-4  # of the picture's variance, in its own units (0..1): less is flat
DECIDED = (0.2, 0.8)
BAND = 2  # pixels around what is undecided, at `WIDTH`


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
        mode: "off" gives ``blur`` itself, "best" takes three passes.
    """
    if mode == "off":
        return blur
    values, (height, width) = blur.values, blur.values.shape
    size = small_size(width, height)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    guide = _small(gray.astype(np.float32), size) / np.float32(255)
    target = _small(values, size)
    gain, offset = _linear(guide, target)
    for _ in range(PASSES[mode] - 1):
        gain, offset = _linear(guide, np.clip(gain * guide + offset, 0, 1))
    large, base = (cv2.resize(each, (width, height)) for each in (gain, offset))
    share = _band(target, (width, height))
    # In place from here on: fresh memory of a frame's size costs more than the arithmetic.
    fitted = np.asarray(cv2.multiply(large, gray, scale=1 / 255, dtype=cv2.CV_32F), np.float32)
    fitted += base
    fitted -= values
    fitted *= share
    fitted += values
    return BlurMap(np.clip(fitted, 0, 1, out=fitted))


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture that the filter works on."""
    scale = max(1.0, width / WIDTH) * SHRUNK
    return max(1, round(width / scale)), max(1, round(height / scale))


def _linear(guide: Values, target: Values) -> tuple[Values, Values]:
    """Gain and offset by which ``guide`` is nearest to ``target`` around every pixel, and their means."""
    mean_guide, mean_target = _mean(guide), _mean(target)
    covariance = _mean(guide * target) - mean_guide * mean_target
    variance = _mean(guide * guide) - mean_guide * mean_guide
    gain = np.asarray(covariance / (variance + EPSILON), np.float32)
    return _mean(gain), _mean(mean_target - gain * mean_guide)


def _mean(values: Values) -> Values:
    side = 2 * (RADIUS // SHRUNK) + 1
    return np.asarray(cv2.blur(values, (side, side)), np.float32)


def _small(values: Values, size: tuple[int, int]) -> Values:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _band(values: Values, size: tuple[int, int]) -> Values:
    """1 near what is undecided in the small map ``values``, 0 elsewhere, soft between; at ``size``."""
    undecided = ((values > DECIDED[0]) & (values < DECIDED[1])).astype(np.uint8)
    side = 2 * (BAND // SHRUNK) + 1
    wide = cv2.dilate(undecided, np.ones((side, side), np.uint8)).astype(np.float32)
    return np.asarray(cv2.resize(cv2.blur(wide, (3, 3)), size), np.float32)
