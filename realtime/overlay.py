"""Focus overlays: pure functions from a picture and its blur map to a picture.

Pictures are uint8 BGR H x W x 3; maps float32 H x W in [0, 1], 1 = blurred. Nothing is drawn in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, get_args

import cv2
import numpy as np

from .errors import SettingsError
from .frame import FocusResult, Image, Values

OverlayKind = Literal["peaking", "heat", "mask", "outline", "side-by-side", "none"]
KINDS: tuple[OverlayKind, ...] = get_args(OverlayKind)
Ground = Literal["colour", "gray", "alone"]
GROUNDS: tuple[Ground, ...] = get_args(Ground)
COLOUR_MAP = cv2.COLORMAP_VIRIDIS  # readable with every colour vision, and in gray
FONT = cv2.FONT_HERSHEY_SIMPLEX
STRIPE_PERIOD = 12
MAX_LEVELS = 3
# Immerkær, "Fast Noise Variance Estimation", CVIU 1996: no answer to planes, 6 sigma to noise.
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# Standard deviation of either component of the gradient (Sobel over 8) per standard deviation of the noise.
GRADIENT_NOISE = math.sqrt(12) / 8
SAMPLED = 4  # every fourth pixel each way is looked at for a share of all: a tenth of the time
MIN_BLURRED = 0.02  # share of the picture that the noise can be told from


@dataclass(frozen=True)
class OverlayStyle:
    """How overlays look.

    Attributes:
        colour: of peaking and outline, BGR; the default is told from most subjects by every colour vision.
        opacity: of heat and mask, 0 to 1.
        threshold: gradient from which an edge is peaked, in gray levels a pixel (lower: more edges).
        levels: of peaking, 1 to 3: edges of one, two and four times the threshold, ever brighter.
        strongest: share of the pixels in focus that peaking may mark, the strongest edges first: it raises
            the threshold where more are over it; 1 = off.
        ground: what the overlay lies on: the picture, the picture in gray, or black.
        noise_gate: the threshold is at least so many times the gradient that the sensor's noise makes;
            0 = off.
        stripes: draw peaking as black and coloured stripes, so that it does not rest on colour alone.
        legend: draw the scale and the model's name.

    Raises:
        SettingsError: a value out of its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # of settings files

    colour: tuple[int, int, int] = (0, 176, 255)
    opacity: float = 0.55
    threshold: float = 12.0
    levels: int = 1
    strongest: float = 1.0
    ground: Ground = "colour"
    noise_gate: float = 4.0
    stripes: bool = False
    legend: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1 or not self.threshold > 0 or not self.noise_gate >= 0:
            raise SettingsError("opacity is 0 to 1, threshold positive, noise_gate not negative")
        if not 1 <= self.levels <= MAX_LEVELS or self.ground not in GROUNDS:
            raise SettingsError(f"levels are 1 to {MAX_LEVELS}, ground one of {', '.join(GROUNDS)}")
        if not 0 < self.strongest <= 1:
            raise SettingsError(f"strongest is a share above 0, up to 1, got {self.strongest}")
        if len(self.colour) != 3 or not all(0 <= value <= 255 for value in self.colour):
            raise SettingsError("a colour is blue, green, red from 0 to 255")

    def shade(self, level: int) -> tuple[int, int, int]:
        """The colour of edges of ``level`` (0 for the weakest); the strongest have ``colour`` itself."""
        light = 0.55 + 0.45 * (level + 1) / self.levels if self.levels > 1 else 1.0
        blue, green, red = (round(light * value) for value in self.colour)
        return blue, green, red


def heat(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """The map in colours over the picture: yellow in focus, violet blurred."""
    sharp = cv2.convertScaleAbs(blur, alpha=-255, beta=255)
    colours = cv2.applyColorMap(sharp, COLOUR_MAP)
    ground = grounded(image, style.ground)
    return _u8(cv2.addWeighted(colours, style.opacity, ground, 1 - style.opacity, 0))


def mask(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """What is blurred becomes dark and gray, what is in focus stays as it is."""
    gray = grounded(image, "gray")
    dark = cv2.addWeighted(image, 1 - style.opacity, gray, style.opacity * 0.45, 0)
    if style.ground == "alone":
        dark = np.zeros_like(image)
    return _where(blur >= 0.5, _u8(dark), gray if style.ground == "gray" else image)


def outline(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """A line around what is in focus (the border P = .5), dark-edged so that it shows on any ground."""
    focused = (blur < 0.5).astype(np.uint8)
    line, edge = (cv2.dilate(focused, _square(n)) - focused for n in outline_widths(image.shape[1]))
    dark = _where(edge > 0, np.zeros_like(image), grounded(image, style.ground))
    return _where(line > 0, np.full_like(image, style.colour), dark)


def outline_widths(width: int) -> tuple[int, int]:
    """Sides of the squares that the line and its dark edge are dilated by, for a picture's width."""
    line = max(2, width // 480)
    return 2 * line + 1, 2 * line + 5


def edges(image: Image) -> Values:
    """Gradient magnitude of the luma by the Sobel operator, in gray levels a pixel: float32 H x W."""
    return _gradient(_luma(image))


def _luma(image: Image) -> Image:
    return _u8(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _gradient(gray: Image) -> Values:
    # 1/8 is the norm of the Sobel kernel: a ramp of one level a pixel has the gradient 1.
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.magnitude(dx, dy), np.float32)


def peaking(image: Image, blur: Values, style: OverlayStyle) -> Image:
    """Colour on the edges that are in focus: contrast gated by the map, so blurred contrast stays dark."""
    gray, in_focus = _luma(image), blur < 0.5
    strength = _gradient(gray)
    threshold = _threshold(gray, strength, blur, style)
    drawn = grounded(image, style.ground)
    for level in range(style.levels):
        marked = np.full_like(image, style.shade(level))
        if style.stripes:
            marked[stripes(image.shape[1], image.shape[0])] = 0
        drawn = _where((strength >= threshold * 2**level) & in_focus, marked, drawn)
    return drawn


def peaking_threshold(image: Image, blur: Values, style: OverlayStyle) -> float:
    """The gradient from which an edge is peaked: the style's, or the one that its gate or share asks for."""
    gray = _luma(image)
    return _threshold(gray, _gradient(gray), blur, style)


def _threshold(gray: Image, strength: Values, blur: Values, style: OverlayStyle) -> float:
    threshold = style.threshold
    if style.noise_gate:
        threshold = max(threshold, style.noise_gate * GRADIENT_NOISE * _noise(gray, blur))
    if style.strongest < 1:
        seen = (slice(None, None, SAMPLED), slice(None, None, SAMPLED))
        in_focus = strength[seen][blur[seen] < 0.5]
        if in_focus.size:
            threshold = max(threshold, float(np.quantile(in_focus, 1 - style.strongest)))
    return threshold


def noise(image: Image, blur: Values) -> float:
    """Standard deviation of the sensor's noise in the luma, in gray levels.

    By Immerkær's estimate over what is blurred, where fine detail cannot be anything else; over the flattest
    part of a picture that is sharp everywhere.
    """
    return _noise(_luma(image), blur)


def _noise(gray: Image, blur: Values) -> float:
    answer = np.abs(cv2.filter2D(gray, cv2.CV_16S, NOISE_KERNEL, borderType=cv2.BORDER_REPLICATE))
    blurred = (blur >= 0.5).astype(np.uint8)
    if cv2.countNonZero(blurred) >= MIN_BLURRED * blurred.size:
        mean = cv2.mean(answer, blurred)[0]
    else:
        rows = min(answer.shape[0], 16)
        mean = min(float(part.mean()) for part in np.array_split(answer, rows))
    return math.sqrt(math.pi / 2) / 6 * float(mean)


def grounded(image: Image, ground: Ground) -> Image:
    """What an overlay lies on: ``image`` itself, its gray form, or black."""
    if ground == "colour":
        return image
    if ground == "alone":
        return np.zeros_like(image)
    return _u8(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


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


def draw(
    result: FocusResult, kind: OverlayKind, style: OverlayStyle | None = None, model: str = ""
) -> Image:
    """``result``'s picture with the overlay ``kind`` and its legend; the picture itself for "none".

    Raises:
        ValueError: ``kind`` is not one of `KINDS`.
    """
    if kind == "none":
        return result.frame.image
    if kind not in DRAW:
        raise ValueError(f"overlay {kind!r} is not one of {', '.join(KINDS)}")
    style = style or OverlayStyle()
    drawn = DRAW[kind](result.frame.image, result.blur.values, style)
    if style.legend:
        _put_legend(drawn, kind, model, style.colour)
    return drawn


def _put_legend(image: Image, kind: OverlayKind, model: str, colour: tuple[int, int, int]) -> None:
    patch = legend(kind, model, max(image.shape[0] / 720, 0.5), colour)
    height, width = patch.shape[:2]
    margin = height // 3
    if image.shape[0] >= 3 * height and image.shape[1] >= width + 2 * margin:
        image[-height - margin : -margin, margin : margin + width] = patch


def load_font() -> None:
    """What the first text waits for, some 20 ms; from any thread."""
    cv2.getTextSize("", FONT, 0.5, 1)


@lru_cache(maxsize=16)
def legend(kind: OverlayKind, model: str, scale: float, colour: tuple[int, int, int]) -> Image:
    """The small plate that says what the colours mean, and which model says so."""
    size, pad = 0.5 * scale, round(8 * scale)
    named = f"br2focus {model}".strip()
    words = ["blurred", "in focus", named] if kind in ("heat", "side-by-side") else [kind, named]
    boxes = [cv2.getTextSize(word, FONT, size, 1)[0] for word in words]
    bar = round(90 * scale) if len(words) == 3 else round(18 * scale)
    height = boxes[0][1] + 2 * pad
    plate = np.full(
        (height, sum(b[0] for b in boxes) + bar + (len(words) + 2) * pad, 3), 24, np.uint8
    )
    x = pad
    for number, (word, box) in enumerate(zip(words, boxes, strict=True)):
        cv2.putText(plate, word, (x, height - pad), FONT, size, (235, 235, 235), 1, cv2.LINE_AA)
        x += box[0] + pad
        if number == 0:
            plate[pad:-pad, x : x + bar] = _swatch(kind, bar, colour)
            x += bar + pad
    return plate


def _swatch(kind: OverlayKind, width: int, colour: tuple[int, int, int]) -> Image:
    if kind in ("heat", "side-by-side"):
        ramp = np.linspace(0, 255, width).astype(np.uint8)[None]
        return _u8(cv2.applyColorMap(ramp, COLOUR_MAP))
    shown = (96, 96, 96) if kind == "mask" else colour
    return np.full((1, width, 3), shown, np.uint8)


@lru_cache(maxsize=4)
def stripes(width: int, height: int) -> np.ndarray:
    """Diagonal stripes: bool H x W, True where dark."""
    y, x = np.ogrid[:height, :width]
    return (x + y) % STRIPE_PERIOD < STRIPE_PERIOD // 2


def _square(side: int) -> Image:
    return np.ones((side, side), np.uint8)


def _where(chosen: np.ndarray, yes: Image, no: Image) -> Image:
    """``yes`` where ``chosen`` (bool H x W), else ``no``; OpenCV copies by mask faster than NumPy."""
    result = no.copy()
    cv2.copyTo(yes, chosen.astype(np.uint8), result)
    return result


def _u8(image: object) -> Image:
    return np.asarray(image, np.uint8)
