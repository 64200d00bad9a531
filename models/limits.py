"""Sizes and limits of what a network with ``detail`` measures: numbers alone, without PyTorch."""

from __future__ import annotations

import math

SENSOR = 0.7  # blur radius in pixels that a sensor's pixel hides
WIDTHS_SEEN = 2400  # of a picture that is watched as a whole, this share of the width is seen
SOFT_SHARE = 0.8  # of the softness of the footage that hides in it
# Chosen on the validation points, pairs and scenes (docs/resolution.md).
MOST = 1 / 550  # of the longer side: no footage is softer than that where it is in focus
SHARPEST = 8  # percent of a picture that show how sharp it gets


def usual_tolerance(width: float) -> float:
    """`tolerance` for footage as sharp as its pixels allow, in pixels of a frame of ``width``."""
    return max(SENSOR, width / WIDTHS_SEEN)


def tolerance(width: float, softness: float) -> float:
    """Blur radius in pixels of the frame, beyond the softness, up to which something counts as in focus.

    The largest of what a sensor's pixel hides, of what is seen when the picture is watched as a whole, and
    of what the softness of the footage hides.

    Args:
        width: of the frame in pixels.
        softness: of the footage, as a blur radius in pixels.
    """
    return max(usual_tolerance(width), SOFT_SHARE * softness)


def softest(width: float) -> float:
    """The largest blur radius that a reference has, in pixels of a frame of ``width``."""
    return max(SENSOR, MOST * width)


def frame_ratio(frame: tuple[int, int], size: tuple[int, int]) -> float:
    """Pixels of a frame for one of the network's, along the longer sides; sizes in either order."""
    return max(frame) / max(size)


def spacing_of(ratio: float) -> int:
    """Pixels of the frame from one cell of evidence to the next: 2, 4, 8, ...

    Args:
        ratio: pixels of the frame for one of the network's; a cell is one to two of these.
    """
    return max(2, 1 << max(0, math.floor(math.log2(2 * ratio) + 1e-6)))
