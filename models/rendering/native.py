"""Scenes at the size of a camera's own pixels, with the blur radius of every pixel.

A training picture is the part of a frame that the network sees as ``side`` x ``side`` pixels; the frame
itself is 640 to 3840 pixels wide. Radii start at half a pixel of the frame, which downscaling would hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from br2focus.models.limits import tolerance

from .camera import soften
from .optics import BlurStack, Pixels, Values, over, radius_map, to_linear, to_srgb
from .scenes import Matte, Scene, SceneMix, Scenes
from .shapes import draw_shape

THIN = ("hairs", "panicles", "blades", "stalks", "lettering", "fence", "leaves")
WIDTHS = (640, 960, 1280, 1620, 1920, 2560, 3840)
OFTEN = (0.13, 0.09, 0.28, 0.13, 0.25, 0.06, 0.06)
# In-focus share of a network's pixel: from SHARP on the pixel is in focus, up to BLURRED it is blurred.
SHARP, BLURRED = 0.35, 0.1


@dataclass(frozen=True)
class NativeMix:
    """How often each kind of scene occurs; the rest are layers on top of each other.

    Attributes:
        sharp, blurred: entirely sharp and entirely blurred pictures.
        ramp: one plane whose blur grows across the picture.
        floor: a smooth ground that recedes, with something standing on it where it is in focus.
        foreground: something thin or with holes, out of focus in front of a sharp background.
        focused: something thin in focus in front of a blurred background.
        radius: largest blur radius as a fraction of the frame's width.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    sharp: float = 0.16
    blurred: float = 0.1
    ramp: float = 0.08
    floor: float = 0.12
    foreground: float = 0.14
    focused: float = 0.2
    radius: float = 0.025


class NativeScene(NamedTuple):
    """A part of a frame and its ground truth.

    Attributes:
        image: uint8 BGR N x N x 3, at the frame's own pixels.
        radius: blur radius beyond the camera's softness, in pixels of the frame; float16 at the size of the
            network's picture, NaN where two layers mix.
        softness: of camera and codec, as a blur radius in pixels of the frame.
        width: of the whole frame, in pixels.
    """

    image: Pixels
    radius: np.ndarray
    softness: float
    width: int


class NativeScenes:
    """Renders random parts of frames that the network sees as ``side`` x ``side`` pixels.

    Args:
        photos: photographs in focus everywhere, BGR uint8; at least one.
        mattes: pictures of objects with their coverage (255 = the object), may be empty.
        smooth: pictures with little texture for grounds and walls, BGR uint8; at least one.
        side: of the network's picture, in pixels.
        long_side: long side of the whole frame in the network.
        mix: how often each kind occurs.
    """

    def __init__(
        self,
        photos: Sequence[Pixels],
        mattes: Sequence[Matte],
        smooth: Sequence[Pixels],
        side: int,
        long_side: int,
        mix: NativeMix,
    ) -> None:
        self.photos, self.mattes, self.smooth = photos, mattes, smooth
        self.side, self.long_side, self.mix = side, long_side, mix

    def render(self, rng: np.random.Generator) -> NativeScene:
        """Render one scene; the same state of ``rng`` gives the same scene."""
        width = int(rng.choice(WIDTHS, p=OFTEN))
        native = round(self.side * width / self.long_side / 16) * 16
        scene = _Frame(self, native, width).scene(rng)
        image, softness = soften(scene.image, rng)
        limit = 1.15 * tolerance(width, softness)
        return NativeScene(image, _shrunk(scene.radius, self.side, limit), softness, width)


class _Frame(Scenes):
    """Renders the kinds of scenes of `Scenes` at the pixels of a frame ``width`` pixels wide."""

    def __init__(self, scenes: NativeScenes, side: int, width: int) -> None:
        mix = SceneMix(radius=scenes.mix.radius, rescaled=0)
        super().__init__(scenes.photos, scenes.mattes, side, mix)
        self.kinds, self.smooth, self.width = scenes.mix, scenes.smooth, width

    def scene(self, rng: np.random.Generator) -> Scene:
        kind, mix = rng.random(), self.kinds
        if kind < (bound := mix.sharp):
            return self._plane(rng, 0.0)
        if kind < (bound := bound + mix.blurred):
            return self._plane(rng, self._radius(rng, smallest=0.0))
        if kind < (bound := bound + mix.ramp):
            return self._ramp(rng)
        if kind < (bound := bound + mix.floor):
            return self._floor(rng)
        if kind < (bound := bound + mix.foreground):
            return self.foreground(rng, str(rng.choice([*THIN, "fingers"])))
        if kind < bound + mix.focused:
            return self.focused(rng, str(rng.choice(THIN)))
        return self._layers(rng)

    def _floor(self, rng: np.random.Generator) -> Scene:
        """Render a ground plane: 1/distance, and so the radius, is linear in the rows below the horizon."""
        horizon, foot = sorted(rng.uniform(0.1, 0.95, 2))
        steep = self._radius(rng, smallest=1.0) / self.side * 2
        rows = np.maximum(np.arange(self.side, dtype=np.float32), horizon * self.side)
        radius = np.abs(rows - np.float32(foot * self.side)) * np.float32(steep)
        radius = np.minimum(radius, np.float32(self.mix.radius * self.width))
        ground = self._photo(rng, self.smooth if rng.random() < 0.7 else None)
        if rng.random() < 0.7:  # something else above the horizon
            above = self._photo(rng, self.smooth if rng.random() < 0.4 else None)
            top = round(horizon * self.side)
            ground = np.concatenate([above[:top], ground[top:]])
        image = BlurStack(ground, float(radius.max()), factor=1.4).at_rows(radius)
        coverage = [np.ones((self.side, self.side), np.float32)]
        radii: list[Values | float] = [radius[:, None]]
        for place in [foot, *rng.uniform(horizon, 1.0, int(rng.random() < 0.3))]:
            own = float(np.interp(place * self.side, np.arange(self.side), radius))
            front = self._standing(place, rng)
            front = BlurStack(front, own, factor=1.4).at(own) if own >= 0.5 else front
            image = over(front, image)
            coverage.append(front[:, :, 3])
            radii.append(own)
        return Scene(to_srgb(image), np.zeros(0, np.uint8), radius_map(coverage, radii))

    def _standing(self, foot: float, rng: np.random.Generator) -> Values:
        """Return something whose lowest point is on row ``foot`` (a fraction of the height)."""
        front = self._front(rng)
        shown = np.flatnonzero(front[:, :, 3].max(1) > 0.5)
        lowest = int(shown[-1]) if len(shown) else self.side
        move = np.array([[1, 0, 0], [0, 1, foot * self.side - lowest]], np.float64)
        size = (self.side, self.side)
        return np.asarray(cv2.warpAffine(front, move, size, flags=cv2.INTER_NEAREST), np.float32)

    def _radius(self, rng: np.random.Generator, smallest: float) -> float:
        """Return a log-uniform radius in pixels of the frame; ``smallest`` is unused: the least is fixed."""
        least, most = 0.6, self.mix.radius * self.width
        return float(np.exp(rng.uniform(np.log(least), np.log(most))))

    def _photo(self, rng: np.random.Generator, photos: Sequence[Pixels] | None = None) -> Values:
        """Return a crop of a photograph that is never enlarged; smaller ones are extended by reflection."""
        photos = photos or self.photos
        large = [p for p in photos if min(p.shape[:2]) >= 0.55 * self.side] or photos
        photo = large[int(rng.integers(len(large)))]
        # Downscaled, which makes it sharper, but not so small that its reflections form rows.
        least = min(0.95, 0.5 * self.side / min(photo.shape[:2]))
        scale = float(rng.uniform(max(0.45, least), 0.95))
        size = [max(32, round(s * scale)) for s in photo.shape[1::-1]]
        small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        if rng.random() < 0.5:
            small = small[:, ::-1]
        lacks = [max(0, self.side - s) for s in size]
        before = [int(rng.integers(lack + 1)) for lack in lacks]
        spare = [max(0, s - self.side) for s in size]
        x, y = (int(rng.integers(s + 1)) for s in spare)
        part = small[y : y + self.side, x : x + self.side]
        whole = cv2.copyMakeBorder(
            part,
            before[1],
            lacks[1] - before[1],
            before[0],
            lacks[0] - before[0],
            cv2.BORDER_REFLECT_101,
        )
        return to_linear(np.asarray(whole, np.uint8))

    def _filled(self, alpha: Values, rng: np.random.Generator) -> Values:
        return super()._filled(alpha, rng) if rng.random() < 0.7 else self._shaded(alpha, rng)

    def _front(self, rng: np.random.Generator) -> Values:
        """Return something in front of the background; about a third of these are thin."""
        if rng.random() < 0.3:
            return self._filled(draw_shape(self.side, rng, str(rng.choice(THIN))), rng)
        return super()._front(rng)


def _shrunk(radius: Values, side: int, limit: float) -> np.ndarray:
    """Return ``radius`` at ``side`` x ``side``: the smallest of a pixel if enough of it is in focus.

    Thin things would vanish in a mean. NaN where neither enough is in focus nor enough is blurred.
    """
    known = np.where(np.isnan(radius), np.float32(1e4), radius)
    unknown, sharp, total = (
        cv2.resize(plane.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        for plane in (np.isnan(radius), known < limit, np.where(np.isnan(radius), 0, radius))
    )
    block = len(radius) // side + 1
    least = cv2.erode(known, np.ones((block, block), np.uint8))
    least = cv2.resize(least, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    mean = total / np.maximum(1 - unknown, 1e-3)
    uniform = np.where(sharp > BLURRED, np.nan, mean)
    result = np.where(sharp >= SHARP, np.where(sharp > 0.99, mean, least), uniform)
    result[(unknown > 0.3) & (sharp < SHARP)] = np.nan
    return result.astype(np.float16)
