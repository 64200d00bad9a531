"""Focus overlays: pure functions from an image and its blur map to an image.

Images are uint8 BGR H x W x 3; maps are float32 H x W in [0, 1], 0 = in focus, 1 = blurred. Nothing is drawn
in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.realtime.bands import in_bands
from br2focus.realtime.frame import Image, Values
from br2focus.realtime.overlay_style import KINDS, Ground, OverlayKind, OverlayStyle
from br2focus.realtime.result import FocusResult

from .legend import colour_table, put_legend, u8

if TYPE_CHECKING:
    from torch import Tensor

STRIPE_PERIOD = 12
NOISE_ANSWER = 6  # response of `second_differences` per standard deviation of the noise
# Standard deviation of each gradient component (Sobel / 8) per standard deviation of the noise.
GRADIENT_NOISE = math.sqrt(12) / 8
SAMPLED = 4  # statistics use every fourth pixel in x and y: a tenth of the time
MIN_BLURRED = 0.02  # smallest blurred share of an image from which the noise can be estimated
PARTS = 16  # an image is split into this many parts, one of which is flat
Plane = TypeVar("Plane", NDArray[np.int16], "Tensor")


def heat(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Draw the map in colours over the image: yellow in focus, violet blurred."""
    table = colour_table()

    def drawn(rows: slice) -> Image:
        sharp = cv2.convertScaleAbs(blur[rows], alpha=-255, beta=255)
        colours = cv2.applyColorMap(sharp, table)
        ground = grounded(image[rows], style.ground)
        return u8(cv2.addWeighted(colours, style.opacity, ground, 1 - style.opacity, 0))

    return _in_bands(image, drawn)


def mask(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Darken and desaturate what is blurred; keep what is in focus."""

    def drawn(rows: slice) -> Image:
        part, gray = image[rows], grounded(image[rows], "gray")
        dark = u8(cv2.addWeighted(part, 1 - style.opacity, gray, style.opacity * 0.45, 0))
        if style.ground == "alone":
            dark = np.zeros_like(part)
        return _where(blur[rows] >= 0.5, dark, gray if style.ground == "gray" else part)

    return _in_bands(image, drawn)


def outline(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Draw a line around what is in focus (P = 0.5), dark-edged to be visible on any background."""
    widths = outline_widths(image.shape[1])

    def drawn(rows: slice) -> Image:
        around, inside = _with_halo(rows, max(widths) // 2)
        focused = (blur[around] < 0.5).astype(np.uint8)
        line, edge = ((cv2.dilate(focused, _square(n)) - focused)[inside] for n in widths)
        part = image[rows]
        dark = _where(edge > 0, np.zeros_like(part), grounded(part, style.ground))
        return _where(line > 0, _filled(part, style.colour), dark)

    return _in_bands(image, drawn)


def outline_widths(width: int) -> tuple[int, int]:
    """Return the dilation sizes of the line and of its dark edge for an image width."""
    line = max(2, width // 480)
    return 2 * line + 1, 2 * line + 5


def edges(image: Image) -> Values:
    """Return the Sobel gradient magnitude of the luma in gray levels per pixel: float32 H x W."""
    gray = _luma(image)
    # 1/8 normalizes the Sobel kernel: a ramp of one level per pixel has gradient 1.
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.magnitude(dx, dy), np.float32)


def _luma(image: Image) -> Image:
    return u8(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def peaking(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Colour the edges that are in focus; the map gates contrast, so blurred contrast is not marked."""
    threshold = peaking_threshold(image, blur, style)

    def drawn(rows: slice) -> Image:
        around, inside = _with_halo(rows, 1)
        part, strength = image[rows], edges(image[around])[inside]
        in_focus = blur[rows] < 0.5
        result = grounded(part, style.ground)
        for level in range(style.levels):
            marked = _filled(part, style.shade(level))
            if style.stripes:
                marked[stripes(image.shape[1], image.shape[0])[rows]] = 0
            result = _where((strength >= threshold * 2**level) & in_focus, marked, result)
        return result

    return _in_bands(image, drawn)


def peaking_threshold(image: Image, blur: Values, style: OverlayStyle) -> float:
    """Return the smallest gradient that is peaked: the style's, raised by its noise gate or share."""
    threshold = style.threshold
    if style.noise_gate:
        threshold = max(threshold, style.noise_gate * GRADIENT_NOISE * noise(image, blur))
    if style.strongest < 1:
        seen = (slice(None, None, SAMPLED), slice(None, None, SAMPLED))
        in_focus = edges(image)[seen][blur[seen] < 0.5]
        if in_focus.size:
            threshold = max(threshold, float(np.quantile(in_focus, 1 - style.strongest)))
    return threshold


def noise(image: Image, blur: Values) -> float:
    """Estimate the standard deviation of the sensor noise in the luma, in gray levels.

    Uses Immerkær's estimate ("Fast Noise Variance Estimation", CVIU 1996) over the blurred regions, where
    fine detail can only be noise; in an image that is sharp everywhere, over the flattest part.
    """
    answer = np.abs(second_differences(_luma(image).astype(np.int16)))
    if not answer.size:
        return 0.0
    blurred = (blur[1:-1:SAMPLED, 1:-1] >= 0.5).view(np.uint8)
    if cv2.countNonZero(blurred) >= MIN_BLURRED * blurred.size:
        mean = cv2.mean(answer, blurred)[0]
    else:
        parts = np.array_split(answer, min(len(answer), PARTS))
        mean = min(float(part.mean()) for part in parts)
    return math.sqrt(math.pi / 2) / NOISE_ANSWER * float(mean)


def second_differences(gray: Plane) -> Plane:
    """Differentiate twice in both directions, in every `SAMPLED`-th row; only noise responds, not planes."""
    above, here, below = (gray[..., n : gray.shape[-2] - 2 + n : SAMPLED, :] for n in range(3))
    across: Any = above - 2 * here + below
    found: Plane = across[..., :-2] - 2 * across[..., 1:-1] + across[..., 2:]
    return found


def grounded(image: Image, ground: Ground) -> Image:
    """Return the background of an overlay: ``image`` itself, its gray version, or black."""
    if ground == "colour":
        return image
    if ground == "alone":
        return np.zeros_like(image)
    return u8(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def side_by_side(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Return the image next to its heat map, H x 2W x 3."""
    return np.ascontiguousarray(np.hstack([image, heat(image, blur, style)]))


DRAW: dict[str, Callable[[Image, Values, OverlayStyle], Image]] = {
    "peaking": peaking,
    "heat": heat,
    "mask": mask,
    "outline": outline,
    "side-by-side": side_by_side,
}


Paint = Callable[[OverlayKind, Image, Values, OverlayStyle], Image]


def paint(kind: OverlayKind, image: Image, values: Values, style: OverlayStyle) -> Image:
    """Draw the overlay ``kind``, which must be in `DRAW`, without a legend."""
    return DRAW[kind](image, values, style)


def draw(
    result: FocusResult,
    kind: OverlayKind,
    style: OverlayStyle | None = None,
    *,
    paint: Paint = paint,
) -> Image:
    """Draw the overlay ``kind`` with its legend on the image of ``result``; for "none" return the image.

    Args:
        paint: draws the overlay, on the CPU or on a GPU.

    Raises:
        ValueError: ``kind`` is not one of `KINDS`.
    """
    if kind == "none":
        return result.frame.image
    if kind not in DRAW:
        raise ValueError(f"overlay {kind!r} is not one of {', '.join(KINDS)}")
    style = style or OverlayStyle()
    drawn = paint(kind, result.frame.image, result.blur, style)
    if style.legend:
        put_legend(drawn, kind, result.model, style.colour)
    return drawn


@lru_cache(maxsize=4)
def stripes(width: int, height: int) -> NDArray[np.bool_]:
    """Return diagonal stripes: bool H x W, True where dark."""
    y, x = np.ogrid[:height, :width]
    found: NDArray[np.bool_] = striped(x + y)
    return found


def striped(diagonal: Any) -> Any:
    """Return whether ``diagonal``, an array of pixel coordinates x + y, is in a dark stripe."""
    return diagonal % STRIPE_PERIOD < STRIPE_PERIOD // 2


def _in_bands(image: Image, drawn: Callable[[slice], Image]) -> Image:
    """Assemble an image of the size of ``image`` from the bands of rows that ``drawn`` returns."""
    result = np.empty_like(image)

    def fill(rows: slice) -> None:
        result[rows] = drawn(rows)

    in_bands(len(image), fill)
    return result


def _with_halo(rows: slice, reach: int) -> tuple[slice, slice]:
    """Return ``rows`` extended by ``reach`` rows on both sides where possible, and ``rows`` within them."""
    above = min(rows.start, reach)
    return slice(rows.start - above, rows.stop + reach), slice(above, above + rows.stop - rows.start)


def _filled(image: Image, colour: tuple[int, int, int]) -> Image:
    """Return an image of one colour, as large as ``image``; ten times as fast as `numpy.full_like`."""
    filled = np.empty_like(image)
    cv2.rectangle(filled, (0, 0), (image.shape[1], image.shape[0]), colour, cv2.FILLED)
    return filled


def _square(side: int) -> Image:
    return np.ones((side, side), np.uint8)


def _where(chosen: NDArray[np.bool_], yes: Image, no: Image) -> Image:
    """Return ``yes`` where ``chosen`` (H x W), else ``no``; OpenCV's masked copy is faster than NumPy's."""
    result = no.copy()
    cv2.copyTo(yes, chosen.view(np.uint8), result)
    return result
