"""The layers of a rendered clip: a backdrop with its ground, a person, something near.

Everything is drawn from a seed, or cut from photographs if there are any. All layers are linear light on a
canvas that is larger than the frame by a margin on every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .optics import Pixels, Values, over, premultiply, to_linear
from .shapes import draw_shape
from .textures import draw_picture, draw_texture

CLOTHES = ("gratings", "text", "foliage", "rough", "pebbles", "bricks")
NEAR_SHAPES = {"stalks": "foliage", "leaves": "foliage", "fingers": "rough", "fence": "rough"}
TEXELS, LEVELS = 160, 8  # of the ground's texture: texels per metre, and number of halvings
SKIN = np.array([0.33, 0.45, 0.68])  # BGR


@dataclass(frozen=True)
class Canvas:
    """The canvas on which the layers are drawn.

    Attributes:
        width, height: of the frame in pixels.
        margin: extra pixels to the left and right, and extra pixels above and below.
        horizon: row of the canvas on which the ground meets the backdrop.
        photos: BGR uint8 surfaces to use instead of procedural ones; may be empty.
    """

    width: int
    height: int
    margin: tuple[int, int]
    horizon: int
    photos: Sequence[Pixels] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height including the margins."""
        return self.width + 2 * self.margin[0], self.height + 2 * self.margin[1]

    def surface(self, rng: np.random.Generator, kind: str | None = None) -> Values:
        """Return a texture, a procedural picture (no ``kind``) or a photograph: linear light H x W x 3."""
        width, height = self.size
        if self.photos:
            return to_linear(_cover(self.photos[int(rng.integers(len(self.photos)))], self.size))
        draw = draw_texture(width, height, rng, kind) if kind else draw_picture(width, height, rng)
        return to_linear(draw)


def backdrop(canvas: Canvas, row_depth: Values, focal: float, rng: np.random.Generator) -> Values:
    """Draw a picture above the horizon and the ground that recedes to it, linear light H x W x 3.

    Args:
        canvas: where it is drawn.
        row_depth: distance of the ground in every row of the canvas in metres, float32 H.
        focal: focal length in pixels.
        rng: determines its look.
    """
    width, height = canvas.size
    light = canvas.surface(rng)
    kind = str(rng.choice(["pebbles", "foliage", "rough", "bricks"]))
    tile = to_linear(draw_texture(256, 256, rng, kind))
    tile = np.concatenate([tile, tile[::-1]])  # mirrored; otherwise every repetition would show a seam
    texture = np.concatenate([tile, tile[:, ::-1]], axis=1)
    count, fine = height - canvas.horizon, 12  # a row of the far ground covers many texels
    places = np.arange(count * fine) / fine
    depth = np.interp(places, np.arange(count), row_depth[canvas.horizon :])
    ground = _ground(texture, depth, width, focal)
    light[canvas.horizon :] = cv2.resize(ground, (width, count), interpolation=cv2.INTER_AREA)
    return light


def _ground(texture: Values, depth: NDArray[np.float64], width: int, focal: float) -> Values:
    """Repeat ``texture`` endlessly, with one row per ``depth``, each from a scale that does not alias."""
    across = (np.arange(width) - 0.3 * width) / focal * TEXELS  # keeps the mirror line out of the middle
    level = np.clip(np.log2(np.maximum(depth / focal * TEXELS, 1)), 0, LEVELS - 1)
    result = np.zeros((len(depth), width, 3), np.float32)
    for number in range(LEVELS):
        near = np.abs(level - number) < 1
        weight = (1 - np.abs(level - number))[near, None, None]
        shrink, side = 2**number, len(texture)
        x = np.multiply.outer(depth[near], across) / shrink % side
        y = np.broadcast_to(depth[near, None] * TEXELS / shrink % side, x.shape)
        wrapped = cv2.copyMakeBorder(texture, 0, 1, 0, 1, cv2.BORDER_WRAP)
        if near.any():
            result[near] += weight * cv2.remap(
                wrapped, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR
            )
        half = cv2.resize(texture, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
        texture = np.asarray(half, np.float32)
    return result


def person(canvas: Canvas, rng: np.random.Generator) -> Values:
    """Draw a person from the waist up, H x W x 4, premultiplied."""
    width, height = canvas.size
    unit = canvas.height * rng.uniform(0.9, 1.15)
    middle = width / 2 + canvas.width * rng.uniform(-0.15, 0.15)
    head = np.array([middle, canvas.margin[1] + 0.36 * canvas.height])
    neck = head + np.array([0, 0.12 * unit])

    def shape(*parts: NDArray[np.float64]) -> Values:
        return _mask(canvas.size, parts)

    skin = np.float32(rng.uniform(0.15, 1.0)) * SKIN
    plain = canvas.surface(rng, "rough")
    flesh = _tinted(plain, skin)
    hair = _tinted(canvas.surface(rng, "gratings"), np.array([0.03, 0.05, 0.09]) * rng.uniform(0.3, 4))
    dark = np.zeros_like(flesh) + np.float32(0.01)
    shoulders = neck + unit * np.array(
        [
            (-0.05, 0),
            (-0.2, 0.07),
            (-0.27, 0.16),
            (-0.31, 0.9),
            (0.31, 0.9),
            (0.27, 0.16),
            (0.2, 0.07),
            (0.05, 0),
        ]
    )
    collar = neck + unit * np.array([(-0.05, -0.08), (0.05, -0.08), (0.05, 0.03), (0, 0.09), (-0.05, 0.03)])
    eyes = [_ellipse(head + unit * np.array([s * 0.035, -0.01]), unit * 0.012, unit * 0.007) for s in (-1, 1)]
    mouth = _ellipse(head + unit * np.array([0, 0.065]), unit * 0.025, unit * 0.006)
    layers = [
        (hair, shape(_ellipse(head - (0, 0.02 * unit), 0.105 * unit, 0.135 * unit))),
        (canvas.surface(rng, str(rng.choice(CLOTHES))), shape(shoulders)),
        (flesh, shape(collar, _ellipse(head, 0.085 * unit, 0.115 * unit))),
        (hair, shape(*_strands(head, unit, rng))),
        (dark, shape(*eyes)),
        (_tinted(plain, skin * (0.7, 0.45, 0.6)), shape(mouth)),
    ]
    figure = np.zeros((height, width, 4), np.float32)
    for light, alpha in layers:
        front = premultiply(light, alpha)
        figure = np.dstack([over(front, figure), alpha + (1 - alpha) * figure[:, :, 3]])
    return figure


def foreground(canvas: Canvas, rng: np.random.Generator) -> Values:
    """Draw something close to the lens that leaves most of the frame free, H x W x 4, premultiplied."""
    width, height = canvas.size
    kind = str(rng.choice(list(NEAR_SHAPES)))
    alpha = np.zeros((height, width), np.float32)
    for _ in range(50):
        square = draw_shape(max(width, height), rng, kind)
        alpha = square[len(square) - height :, :width]
        if 0.05 < alpha.mean() < 0.25:
            break
    return premultiply(canvas.surface(rng, NEAR_SHAPES[kind]), alpha)


def _tinted(light: Values, colour: NDArray[np.floating]) -> Values:
    """Return the relief of ``light`` in another colour."""
    gray = light.mean(2, keepdims=True)
    return np.asarray(colour * np.clip(0.6 + 0.4 * gray / gray.mean(), 0, 2), np.float32)


def _ellipse(centre: NDArray[np.float64], across: float, down: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.asarray(centre + np.stack([across * np.cos(angle), down * np.sin(angle)], 1))


def _strands(head: NDArray[np.float64], unit: float, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return thin blades of hair around the upper half of the head."""
    strands = []
    for angle in rng.uniform(-0.05, 1.05, 90) * -np.pi:
        root = head + unit * np.array([0.085 * np.cos(angle), 0.115 * np.sin(angle)]) * 0.85
        tip = root + unit * rng.uniform(0.03, 0.08) * np.array([np.cos(angle), np.sin(angle) * 0.6 - 0.1])
        tip += rng.normal(0, 0.01, 2) * unit
        half = np.array([0.006 * unit, 0])
        strands.append(np.stack([root - half, root + half, tip]))
    return strands


def _mask(size: tuple[int, int], parts: Sequence[NDArray[np.float64]]) -> Values:
    """Return the coverage of polygons (points in pixels of the canvas), float32 H x W, with smooth edges."""
    fine, sub = 3, 4  # cells per pixel, bits of their fraction
    large = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    for part in parts:
        points = [np.round(part * fine * 2**sub).astype(np.int32)]
        cv2.fillPoly(large, points, 255, cv2.LINE_8, sub)
    small = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _cover(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the middle of ``photo``, scaled to fill ``size`` (width, height)."""
    height, width = photo.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    large = (max(size[0], round(width * scale)), max(size[1], round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(photo, large, interpolation=interpolation), np.uint8)
    x, y = (large[0] - size[0]) // 2, (large[1] - size[1]) // 2
    return scaled[y : y + size[1], x : x + size[0]]
