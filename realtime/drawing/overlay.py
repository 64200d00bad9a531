"""Focus overlays: pure functions from a picture and its blur map to a picture.

Pictures are uint8 BGR H x W x 3; maps float32 H x W in [0, 1], 1 = blurred. Nothing is drawn in place.
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
NOISE_ANSWER = 6  # of `second_differences`, per standard deviation of the noise
# Standard deviation of either component of the gradient (Sobel over 8) per standard deviation of the noise.
GRADIENT_NOISE = math.sqrt(12) / 8
SAMPLED = 4  # every fourth pixel each way is looked at for a share of all: a tenth of the time
MIN_BLURRED = 0.02  # share of the picture that the noise can be told from
PARTS = 16  # of a picture, one of which is flat
Plane = TypeVar("Plane", NDArray[np.int16], "Tensor")


def heat(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """The map in colours over the picture: yellow in focus, violet blurred."""
    table = colour_table()

    def drawn(rows: slice) -> Image:
        sharp = cv2.convertScaleAbs(blur[rows], alpha=-255, beta=255)
        colours = cv2.applyColorMap(sharp, table)
        ground = grounded(image[rows], style.ground)
        return u8(cv2.addWeighted(colours, style.opacity, ground, 1 - style.opacity, 0))

    return _in_bands(image, drawn)


def mask(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """What is blurred becomes dark and gray, what is in focus stays as it is."""

    def drawn(rows: slice) -> Image:
        part, gray = image[rows], grounded(image[rows], "gray")
        dark = u8(cv2.addWeighted(part, 1 - style.opacity, gray, style.opacity * 0.45, 0))
        if style.ground == "alone":
            dark = np.zeros_like(part)
        return _where(blur[rows] >= 0.5, dark, gray if style.ground == "gray" else part)

    return _in_bands(image, drawn)


def outline(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """A line around what is in focus (the border P = .5), dark-edged so that it shows on any ground."""
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
    """Sides of the squares that the line and its dark edge are dilated by, for a picture's width."""
    line = max(2, width // 480)
    return 2 * line + 1, 2 * line + 5


def edges(image: Image) -> Values:
    """Gradient magnitude of the luma by the Sobel operator, in gray levels a pixel: float32 H x W."""
    gray = _luma(image)
    # 1/8 is the norm of the Sobel kernel: a ramp of one level a pixel has the gradient 1.
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.magnitude(dx, dy), np.float32)


def _luma(image: Image) -> Image:
    return u8(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def peaking(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Colour on the edges that are in focus: contrast gated by the map, so blurred contrast stays dark."""
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
    """The gradient from which an edge is peaked: the style's, or the one that its gate or share asks for."""
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
    """Standard deviation of the sensor's noise in the luma, in gray levels.

    By Immerkær's estimate ("Fast Noise Variance Estimation", CVIU 1996) over what is blurred, where fine
    detail cannot be anything else; over the flattest part of a picture that is sharp everywhere.
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
    """Of both directions, in every `SAMPLED`-th row of ... x H x W: no answer to planes, one to noise."""
    above, here, below = (gray[..., n : gray.shape[-2] - 2 + n : SAMPLED, :] for n in range(3))
    across: Any = above - 2 * here + below
    found: Plane = across[..., :-2] - 2 * across[..., 1:-1] + across[..., 2:]
    return found


def grounded(image: Image, ground: Ground) -> Image:
    """What an overlay lies on: ``image`` itself, its gray form, or black."""
    if ground == "colour":
        return image
    if ground == "alone":
        return np.zeros_like(image)
    return u8(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def side_by_side(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """The picture and its heat map next to each other, H x 2W x 3."""
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
    """The overlay ``kind``, which is in `DRAW`, without a legend."""
    return DRAW[kind](image, values, style)


def draw(
    result: FocusResult,
    kind: OverlayKind,
    style: OverlayStyle | None = None,
    *,
    paint: Paint = paint,
) -> Image:
    """``result``'s picture with the overlay ``kind`` and its legend; the picture itself for "none".

    Args:
        paint: makes the overlay, here or on a GPU.

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
    """Diagonal stripes: bool H x W, True where dark."""
    y, x = np.ogrid[:height, :width]
    found: NDArray[np.bool_] = striped(x + y)
    return found


def striped(diagonal: Any) -> Any:
    """Whether ``diagonal``, an array of x + y of pixels, is in a dark stripe."""
    return diagonal % STRIPE_PERIOD < STRIPE_PERIOD // 2


def _in_bands(image: Image, drawn: Callable[[slice], Image]) -> Image:
    """A picture as large as ``image``, put together from what ``drawn`` gives for some rows at a time."""
    result = np.empty_like(image)

    def fill(rows: slice) -> None:
        result[rows] = drawn(rows)

    in_bands(len(image), fill)
    return result


def _with_halo(rows: slice, reach: int) -> tuple[slice, slice]:
    """``rows`` with ``reach`` more on either side, where there are any; and where ``rows`` are in these."""
    above = min(rows.start, reach)
    return slice(rows.start - above, rows.stop + reach), slice(above, above + rows.stop - rows.start)


def _filled(image: Image, colour: tuple[int, int, int]) -> Image:
    """A picture of one colour, as large as ``image``; a tenth of the time of `numpy.full_like`."""
    filled = np.empty_like(image)
    cv2.rectangle(filled, (0, 0), (image.shape[1], image.shape[0]), colour, cv2.FILLED)
    return filled


def _square(side: int) -> Image:
    return np.ones((side, side), np.uint8)


def _where(chosen: NDArray[np.bool_], yes: Image, no: Image) -> Image:
    """``yes`` where ``chosen`` (H x W), else ``no``; OpenCV copies by mask faster than NumPy."""
    result = no.copy()
    cv2.copyTo(yes, chosen.view(np.uint8), result)
    return result
