"""Blur radii, and the limit above which something counts as blurred.

A network with ``detail`` estimates the blur of every pixel and its certainty. What counts as in focus depends
on the footage (a soft codec hides small blurs) and on taste: the circle of confusion.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from br2focus.models.limits import SHARPEST, softest, tolerance, usual_tolerance
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Radii, Values

CALM = 60.0  # time constant in seconds for a softer image
QUICK = 0.5  # time constant in seconds for a sharper image
# The neighbouring cells by which thin objects in focus are widened.
GROWN = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
# The output planes of a network with ``detail`` that are logarithms of pixels: radius and softness.
IN_PIXELS = np.array([1, 0, 1], np.float32)[:, None, None]


class Coc(NamedTuple):
    """The largest blur radius that counts as in focus: pixels, or a share of the longer side."""

    value: float
    of_width: bool = False

    def pixels(self, width: int) -> float:
        """Return the radius in pixels of a frame that is ``width`` pixels wide."""
        return self.value * width if self.of_width else self.value


def parse_coc(text: str) -> Coc:
    """Parse ``"1.5"`` or ``"1.5px"`` as pixels, ``"1/1500"`` as a share of the longer side.

    Raises:
        SettingsError: it is neither, or out of range.
    """
    number = r"(\d+(?:\.\d+)?)"
    if match := re.fullmatch(rf"{number}(?: ?px)?", text.strip()):
        coc = Coc(float(match[1]))
        fits = 0.05 <= coc.value <= 200
    elif match := re.fullmatch(rf"1/{number}", text.strip()):
        coc = Coc(1 / max(float(match[1]), 1e-9), of_width=True)
        fits = 1 / 100000 <= coc.value <= 0.1
    else:
        raise SettingsError(f"coc {text!r}: give pixels, such as 1.5, or a share, such as 1/1500")
    if not fits:
        raise SettingsError(f"coc {text!r}: 0.05 to 200 pixels, or 1/100000 to 1/10 of the longer side")
    return coc


def coc_of(value: str | float | None) -> Coc | None:
    """Return `parse_coc` of ``value``; None for None."""
    return None if value is None else parse_coc(str(value))


def enlarged(planes: Values, scale: float) -> Values:
    """Convert ``planes`` of a network with ``detail`` to pixels of a frame ``scale`` times as large."""
    return planes + np.float32(math.log(scale)) * IN_PIXELS


@dataclass
class Reference:
    """The best sharpness of the footage: the softness of its sharpest frames, with slow decay.

    It follows a sharper image within a second and a softer one within minutes. Both are measured in
    presentation time, so dropped frames do not matter. A cut does not reset it; a new clip does (`reset`).

    Attributes:
        coc: the blur above which something is out of focus; None for `tolerance`.
        pixels: the reference as a blur radius in pixels of the frame; None before the first frame.
    """

    coc: Coc | None = None
    pixels: float | None = None
    _seconds: float = 0.0
    _width: int = 0

    @property
    def rounded(self) -> float | None:
        """``pixels`` rounded to hundredths, for reports."""
        return None if self.pixels is None else round(self.pixels, 2)

    def reset(self) -> None:
        """Clear the history before another clip."""
        self.pixels = None

    def after(self, own: float, width: int, seconds: float | None) -> float:
        """Update the reference with the softness of the next frame; both are in pixels.

        Args:
            own: softness of this frame alone.
            width: width of the frame in pixels; a different width means a different source.
            seconds: presentation time; None for a single image, which does not change the reference.
        """
        own = min(own, softest(width))
        if seconds is None:
            return own
        if self.pixels is None or width != self._width:
            self.pixels = own
        else:
            passed = max(0.0, seconds - self._seconds)  # a reopened stream starts at 0
            share = 1 - math.exp(-passed / (QUICK if own < self.pixels else CALM))
            self.pixels *= (own / self.pixels) ** share
        self._seconds, self._width = seconds, width
        return self.pixels

    def judged(self, planes: Values, width: int, size: tuple[int, int], seconds: float | None) -> BlurMap:
        """Convert the network's output to P(blurred) and radii.

        Args:
            planes: 3 x h x w: ln radius, gain, ln softness (see `br2focus.models.detail.Blur`).
            width: longer side of the frame in pixels.
            size: width and height of the map.
            seconds: see `after`.
        """
        log_radius, gain, softness = planes
        sharpest = float(np.exp(np.percentile(log_radius, SHARPEST)))
        reference = self.after(max(float(np.exp(softness.mean())), sharpest), width, seconds)
        coc = self.coc  # another thread may change it
        allowed = coc.pixels(width) if coc else tolerance(width, reference)
        limit = math.hypot(reference, allowed)
        thinnest = cv2.erode(log_radius, GROWN)  # widens thin objects, since a cell is coarser than a hair
        logits = gain * (thinnest - np.float32(math.log(limit)))
        large = np.asarray(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR), np.float32)
        values = 1 / (1 + cv2.exp(-np.clip(large, -30, 30)))
        radii = Radii(log_radius, reference, limit, 2 * usual_tolerance(width))
        return BlurMap(np.asarray(values, np.float32), radii)
