"""Procedural pictures that are sharp everywhere: edges at many scales without photographs.

Each texture is drawn at twice its size and downscaled, so that its edges are as sharp as a pixel allows and
no sharper. `draw_picture` lays several of them over each other like the surfaces of a room or a street,
including smooth ones: what is smooth is not always out of focus.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]
OVERSAMPLING = 2

Texture = Callable[[int, int, np.random.Generator], Values]


def draw_texture(width: int, height: int, rng: np.random.Generator, kind: str | None = None) -> Pixels:
    """Draw one texture, BGR uint8 H x W x 3; ``kind`` is a key of `TEXTURES` or random."""
    draw = TEXTURES[kind or str(rng.choice(list(TEXTURES)))]
    large = draw(width * OVERSAMPLING, height * OVERSAMPLING, rng)
    small = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    return _pixels(np.asarray(small, np.float32))


def draw_picture(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Draw several surfaces with different textures in front of each other, BGR uint8 H x W x 3."""
    picture = draw_texture(width, height, rng)
    for _ in range(int(rng.integers(2, 7))):
        outline = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING), np.uint8)
        size = rng.uniform(0.15, 0.5) * min(outline.shape)
        _fill(outline, _outline(rng, rng.uniform(0, 1, 2) * outline.shape[::-1], float(size)), 255)
        alpha = cv2.resize(outline, (width, height), interpolation=cv2.INTER_AREA)[:, :, None] / 255
        surface = draw_texture(width, height, rng) * rng.uniform(0.5, 1.1)
        picture = _pixels(picture + alpha * (surface - picture))
    return picture


def fractal(width: int, height: int, rng: np.random.Generator, *, steepness: float = 1.0) -> Values:
    """Return noise whose amplitude falls as 1 / frequency ** ``steepness``, as in photographs.

    Returns:
        float32 H x W with mean 0 and standard deviation 1.
    """
    noise = _octaves(width, height, rng, np.float32(2 ** (steepness - 1)))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _octaves(width: int, height: int, rng: np.random.Generator, gain: np.float32) -> Values:
    """Return white noise plus, ``gain`` times as strong, the same at half the resolution."""
    noise = rng.standard_normal((height, width), np.float32)
    if max(width, height) > 8:
        half = _octaves(width // 2 + 3, height // 2 + 3, rng, gain)
        coarse = cv2.resize(half, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        y, x = rng.integers(0, 4, 2)  # otherwise the grids of all octaves would coincide
        noise += gain * coarse[y : y + height, x : x + width]
    return noise


# --- textures: float32 BGR H x W x 3, sRGB code values, about 0 to 255 ------------------------------


def rough(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw plaster, rock or soil: fractal noise in one colour and a little in another."""
    light = fractal(width, height, rng, steepness=float(rng.uniform(0.7, 1.2)))
    tint = fractal(width, height, rng, steepness=1.4)
    colour = _colour(rng, 60, 180)
    shade = colour * (1 + 0.3 * light[:, :, None]) + rng.uniform(-12, 12, 3) * tint[:, :, None]
    return np.asarray(shade, np.float32)


def smooth(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw sky or a painted wall: a gradient with next to nothing on it."""
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    slope = np.add.outer(y * np.sin(angle), x * np.cos(angle))[:, :, None]
    grain = fractal(width, height, rng, steepness=1.0)[:, :, None]
    colour = _colour(rng, 60, 230)
    return np.asarray(colour + slope * rng.uniform(-30, 30, 3) + 1.5 * grain, np.float32)


def bricks(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw rows of bricks, each in its own shade, in mortar."""
    tall = int(rng.integers(14, 56))
    wide, joint = (
        int(tall * rng.uniform(1.5, 3)),
        max(2, round(tall * float(rng.uniform(0.06, 0.16)))),
    )
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = _colour(rng, 120, 200)
    colour = _colour(rng, 60, 160)
    for row, top in enumerate(range(0, height, tall)):
        for left in range(-(row % 2) * wide // 2, width, wide):
            shade = colour * rng.uniform(0.75, 1.25) + rng.uniform(-8, 8, 3)
            corner = (left + wide - joint - 1, top + tall - joint - 1)
            cv2.rectangle(canvas, (left, top), corner, shade.tolist(), -1)
    return _weathered(canvas, rng, 0.08)


def windows(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw the front of a house: a grid of framed panes."""
    cell = rng.uniform(40, 130, 2)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = _colour(rng, 90, 210)
    frame = _colour(rng, 40, 240)
    for top in np.arange(rng.uniform(-20, 20), height, cell[1]):
        for left in np.arange(rng.uniform(-3, 3), width, cell[0]):
            corner = np.array([left, top])
            for share, colour in ((0.16, frame), (0.2, _colour(rng, 10, 130))):
                low, high = corner + share * cell, corner + (1 - share) * cell
                _fill(canvas, np.array([low, (high[0], low[1]), high, (low[0], high[1])]), colour)
    return _weathered(canvas, rng, 0.05)


def gratings(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw blinds, cloth or corrugated metal: stripes whose spacing changes slowly."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(7, 50)
    x, y = np.arange(width), np.arange(height)
    place = np.add.outer(y * np.sin(angle), x * np.cos(angle)) / period
    place += rng.uniform(0, 1.5) * fractal(width, height, rng, steepness=2.2)
    wave = np.sin(2 * np.pi * place)
    bars = np.clip(wave * rng.choice([3.0, 12.0]), -1, 1)[:, :, None] / 2 + 0.5
    low, high = _colour(rng, 20, 110), _colour(rng, 120, 230)
    return _weathered(np.asarray(low + (high - low) * bars, np.float32), rng, 0.05)


def text(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw a printed page: lines of letters in several sizes."""
    page, ink = _colour(rng, 170, 245), _colour(rng, 5, 70)
    letters = np.array(list(string.ascii_letters + "      "))
    printed = np.zeros((height, width), np.uint8)
    baseline = 0.0
    while baseline < height:
        size = float(rng.choice([0.8, 1.0, 1.3, 2.5]))
        baseline += 34 * size
        line = "".join(rng.choice(letters, int(width / (14 * size)) + 4))
        start = (int(rng.integers(-20, 10)), int(baseline))
        cv2.putText(printed, line, start, cv2.FONT_HERSHEY_DUPLEX, size, 255, max(2, round(2.2 * size)))
    share = printed[:, :, None] / np.float32(255)
    return _weathered(page + share * (ink - page), rng, 0.03)


def foliage(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw leaves over leaves, some large and many small."""
    return _dead_leaves(width, height, rng, slender=(0.2, 0.6), colour=_colour(rng, 50, 120, 0.2))


def pebbles(width: int, height: int, rng: np.random.Generator) -> Values:
    """Draw round stones over each other, with sizes from a power law: the statistics of natural pictures."""
    return _dead_leaves(width, height, rng, slender=(0.7, 1.0), colour=_colour(rng, 70, 180))


TEXTURES: dict[str, Texture] = {
    "rough": rough,
    "smooth": smooth,
    "bricks": bricks,
    "windows": windows,
    "gratings": gratings,
    "text": text,
    "foliage": foliage,
    "pebbles": pebbles,
}


def _dead_leaves(
    width: int,
    height: int,
    rng: np.random.Generator,
    *,
    slender: tuple[float, float],
    colour: Values,
) -> Values:
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = colour * 0.3
    smallest, largest = 5.0, 0.08 * (width + height)
    ratio = (smallest / largest) ** 2
    mean_area = 2 * np.pi * smallest**2 * np.log(largest / smallest) * np.mean(slender)
    for _ in range(round(2.5 * width * height / mean_area)):
        # Radius r with density r ** -3: every scale covers the same area.
        long = smallest / np.sqrt(1 - rng.random() * (1 - ratio))
        axes = (round(long), max(2, round(long * rng.uniform(*slender))))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        turn, shade = float(rng.uniform(0, 360)), colour * rng.uniform(0.3, 1.7)
        tint = np.clip(shade + rng.uniform(-12, 12, 3), 2, 250)
        cv2.ellipse(canvas, centre, axes, turn, 0, 360, tint.tolist(), -1)
        if long > 14:  # a lit side gives large ones an inside
            tint = np.clip(tint * 1.25, 2, 250)
            cv2.ellipse(canvas, centre, axes, turn, 0, 180, tint.tolist(), -1)
    return _weathered(canvas, rng, 0.08)


def _weathered(canvas: Values, rng: np.random.Generator, amount: float) -> Values:
    """Add grain and uneven light."""
    height, width = canvas.shape[:2]
    grain = fractal(width, height, rng, steepness=float(rng.uniform(0.5, 1.0)))
    light = fractal(width, height, rng, steepness=2.0)
    return np.asarray(canvas * (1 + amount * grain + 0.12 * light)[:, :, None], np.float32)


def _colour(rng: np.random.Generator, low: float, high: float, green: float = 0.0) -> Values:
    """Return a colour near gray, warmer or colder, as most are; ``green`` 0.3 is grass."""
    gray, warm, other = rng.uniform(low, high), rng.normal(0.08, 0.2), rng.normal(green, 0.05)
    tint = np.array([1 - warm - green, 1 + other, 1 + warm - green])
    return np.asarray(np.clip(gray * tint, low / 2, 250), np.float32)


def _outline(rng: np.random.Generator, centre: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Return a rectangle at an angle, or a rounded blob."""
    if rng.random() < 0.5:
        half = size * rng.uniform(0.5, 1.0, 2)
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
        angle = rng.normal(0, 0.15)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        return np.asarray(centre + corners @ turn)
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = np.zeros(len(angles))
    for k in range(1, 7):
        waves += rng.normal(0, 0.2 / k) * np.sin(k * angles + rng.uniform(0, 6))
    around = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.asarray(centre + size * (0.8 + waves)[:, None] * around)


def _fill(canvas: Pixels | Values, points: NDArray[np.float64], colour: Values | int) -> None:
    value = [float(colour)] if isinstance(colour, int) else colour.tolist()
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], value, cv2.LINE_8, 4)


def _pixels(values: NDArray[np.floating | np.integer]) -> Pixels:
    return np.asarray(np.clip(values + 0.5, 0, 255), np.uint8)
