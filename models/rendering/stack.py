"""A rendered focal stack: regions at known distances, with the focus moved through them step by step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from br2focus.models.sizes import COLUMNS, ROWS, regions

from .codec import jpeg
from .optics import BlurStack, Pixels, to_linear
from .sensor import Sensor
from .textures import TEXTURES, draw_texture


class Stack(NamedTuple):
    """The slices (uint8 BGR, one size), and for each region the slice in which it is in focus."""

    slices: list[Pixels]
    best: list[int]


def render_stack(
    seed: int,
    *,
    width: int = 1536,
    height: int = 1024,
    slices: int = 10,
    step: float = 1.5,
    noise: float = 2.0,
    quality: int = 92,
) -> Stack:
    """Render a stack of `COLUMNS` x `ROWS` regions, each on its own plane.

    Args:
        seed: determines the stack.
        width, height: of the slices, in pixels.
        slices: number of slices.
        step: growth of the blur radius from one slice to the next, in pixels.
        noise: of the sensor, standard deviation at mid-gray, of 255.
        quality: of each slice's JPEG.
    """
    rng = np.random.default_rng(seed)
    best = rng.integers(0, slices, COLUMNS * ROWS).tolist()
    picture = _surfaces(width, height, rng)
    layers = BlurStack(to_linear(picture), step * (slices - 1), factor=1.15)
    plane = np.zeros((height, width), np.float32)
    for (x, y, w, h), place in zip(regions(width, height), best, strict=True):
        plane[y : y + h, x : x + w] = place
    sensor = Sensor(width, height, noise=noise, seed=seed)
    made = []
    for number in range(slices):
        light = layers.at_pixels(np.float32(step) * np.abs(plane - number))
        made.append(jpeg(sensor.expose(light, number), quality))
    return Stack(made, best)


def _surfaces(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Draw a texture in every region; none is smooth, because nobody could judge it."""
    kinds = [kind for kind in TEXTURES if kind != "smooth"]
    picture = np.empty((height, width, 3), np.uint8)
    for x, y, w, h in regions(width, height):
        picture[y : y + h, x : x + w] = draw_texture(w, h, rng, str(rng.choice(kinds)))
    return picture
