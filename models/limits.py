"""Sizes and limits of what a network with ``detail`` measures: plain numbers, without PyTorch."""

from __future__ import annotations

import math

SENSOR = 0.7  # blur radius in pixels that a pixel of the sensor hides
WIDTHS_SEEN = 2400  # blur radii above width / 2400 are visible when a picture is viewed as a whole
SOFT_SHARE = 0.8  # share of the footage's softness up to which blur hides in it
# Chosen on the validation points, pairs and scenes (docs/resolution.md).
MOST = 1 / 550  # of the longer side: where footage is in focus, it is never softer than this
SHARPEST = 8  # percent of a picture that shows how sharp it gets


def usual_tolerance(width: float) -> float:
    """Return `tolerance` for footage as sharp as its pixels allow, in pixels of a frame of ``width``."""
    return max(SENSOR, width / WIDTHS_SEEN)


def tolerance(width: float, softness: float) -> float:
    """Return the blur radius, beyond the softness, up to which something counts as in focus, in frame pixels.

    It is the largest of three limits: what a pixel of the sensor hides, what is visible when the picture is
    viewed as a whole, and what the softness of the footage hides.

    Args:
        width: of the frame in pixels.
        softness: of the footage, as a blur radius in pixels.
    """
    return max(usual_tolerance(width), SOFT_SHARE * softness)


def softest(width: float) -> float:
    """Return the largest blur radius that a reference may have, in pixels of a frame of ``width``."""
    return max(SENSOR, MOST * width)


def frame_ratio(frame: tuple[int, int], size: tuple[int, int]) -> float:
    """Return the frame's pixels per pixel of the network, along the longer sides; sizes in either order."""
    return max(frame) / max(size)


def spacing_of(ratio: float) -> int:
    """Return the distance from one cell of evidence to the next in pixels of the frame: 2, 4, 8, ...

    Args:
        ratio: pixels of the frame per pixel of the network; a cell is one to two of the network's pixels.
    """
    return max(2, 1 << max(0, math.floor(math.log2(2 * ratio) + 1e-6)))
