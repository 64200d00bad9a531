"""Blur radii, and the limit from which on something counts as blurred.

A network with ``detail`` gives for every pixel how large its blur is and how sure that is. What counts as in
focus depends on the footage (a soft codec hides small blurs) and on taste: the circle of confusion.
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

CALM = 60.0  # seconds in which most of a reference is forgotten
QUICK = 0.5  # seconds in which a sharper picture moves the reference most of the way
# Cells that a thin thing in focus takes up.
GROWN = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
# Which planes of a network with ``detail`` are logarithms of pixels: radius and softness.
IN_PIXELS = np.array([1, 0, 1], np.float32)[:, None, None]


class Coc(NamedTuple):
    """The largest blur radius that counts as in focus: pixels, or a share of the longer side."""

    value: float
    of_width: bool = False

    def pixels(self, width: int) -> float:
        """In pixels of a frame ``width`` pixels wide."""
        return self.value * width if self.of_width else self.value


def parse_coc(text: str) -> Coc:
    """``"1.5"`` or ``"1.5px"`` in pixels, ``"1/1500"`` as a share of the longer side.

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
    """What `parse_coc` makes of ``value``; None for None."""
    return None if value is None else parse_coc(str(value))


def enlarged(planes: Values, scale: float) -> Values:
    """``planes`` of a network with ``detail`` in pixels of a frame that is ``scale`` times as large."""
    return planes + np.float32(math.log(scale)) * IN_PIXELS


@dataclass
class Reference:
    """How sharp the footage can be: the softness of the best that it has shown, slowly forgotten.

    It follows a sharper picture within a second and a softer one within minutes, in media time, so that
    dropped frames do not change it. A cut does not reset it; another clip does (`reset`).

    Attributes:
        coc: from which blur on something is out of focus; None for `tolerance`.
        pixels: the reference as a blur radius in pixels of the frame, None before the first frame.
    """

    coc: Coc | None = None
    pixels: float | None = None
    _seconds: float = 0.0
    _width: int = 0

    @property
    def rounded(self) -> float | None:
        """``pixels`` in hundredths, for reports."""
        return None if self.pixels is None else round(self.pixels, 2)

    def reset(self) -> None:
        """Forget the past, before another clip."""
        self.pixels = None

    def after(self, own: float, width: int, seconds: float | None) -> float:
        """The reference with the next frame's ``own`` softness, both in pixels.

        Args:
            own: of this frame alone.
            width: of the frame in pixels; another one is another source.
            seconds: media time; None for a picture by itself, which changes nothing.
        """
        own = min(own, softest(width))
        if seconds is None:
            return own
        if self.pixels is None or width != self._width:
            self.pixels = own
        else:
            passed = max(0.0, seconds - self._seconds)  # a stream that is opened again begins at 0
            share = 1 - math.exp(-passed / (QUICK if own < self.pixels else CALM))
            self.pixels *= (own / self.pixels) ** share
        self._seconds, self._width = seconds, width
        return self.pixels

    def judged(self, planes: Values, width: int, size: tuple[int, int], seconds: float | None) -> BlurMap:
        """P(blurred) and radii out of what the network gave.

        Args:
            planes: 3 x h x w: ln radius, gain, ln softness (see `br2focus.models.detail.Blur`).
            width: of the frame in pixels, or of its longer side where that is larger.
            size: width and height of the map.
            seconds: see `after`.
        """
        log_radius, gain, softness = planes
        sharpest = float(np.exp(np.percentile(log_radius, SHARPEST)))
        reference = self.after(max(float(np.exp(softness.mean())), sharpest), width, seconds)
        coc = self.coc  # another thread may change it
        allowed = coc.pixels(width) if coc else tolerance(width, reference)
        limit = math.hypot(reference, allowed)
        thinnest = cv2.erode(log_radius, GROWN)  # a cell is coarser than a hair
        logits = gain * (thinnest - np.float32(math.log(limit)))
        large = np.asarray(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR), np.float32)
        values = 1 / (1 + cv2.exp(-np.clip(large, -30, 30)))
        radii = Radii(log_radius, reference, limit, 2 * usual_tolerance(width))
        return BlurMap(np.asarray(values, np.float32), radii)
