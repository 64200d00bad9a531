"""Random scenes with a true mask: what the real training images lack.

These are entirely sharp and entirely blurred pictures, foregrounds that are thin or have holes, in and out of
focus, and planes that recede. Which layer is blurred is random; otherwise a network learns saliency. Some
pasted objects are sharp on both sides of their edge; otherwise it learns pasted edges. Everything is rendered
at the size of a training crop, so that the circle of confusion is in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .optics import (
    BlurStack,
    Pixels,
    Values,
    blur,
    classes,
    label,
    over,
    polygon_kernel,
    premultiply,
    radius_map,
    to_linear,
    to_srgb,
)
from .shapes import draw_shape

FOREGROUNDS = ("fence", "leaves", "fingers", "stalks")
FOCUSED = ("fence", "leaves", "stalks", "blades", "blades")  # grass occurs most often
Matte = tuple[Pixels, NDArray[np.uint8]]


class Scene(NamedTuple):
    """A rendered picture and its ground truth.

    Attributes:
        image: BGR uint8 N x N x 3.
        label: uint8 N x N, see `optics.label`.
        radius: blur radius in pixels of the picture, float32 N x N, see `optics.radius_map`.
    """

    image: Pixels
    label: Pixels
    radius: Values


@dataclass(frozen=True)
class SceneMix:
    """How often each kind of scene occurs; the rest are layers on top of each other.

    Attributes:
        sharp, blurred: entirely sharp and entirely blurred pictures.
        ramp: one plane whose blur grows across the picture.
        foreground: something thin or with holes, out of focus in front of a sharp background.
        focused: the opposite, such as grass in focus in front of a blurred background.
        radius: largest radius of the circle of confusion, as a fraction of the width.
        rescaled: rendered larger and downscaled after the blur, like most pictures from cameras.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    sharp: float = 0.22
    blurred: float = 0.13
    ramp: float = 0.1
    foreground: float = 0.0
    focused: float = 0.0
    radius: float = 0.04
    rescaled: float = 0.3


class Scenes:
    """Renders random scenes of ``side`` x ``side`` pixels.

    Args:
        photos: photographs in focus everywhere, BGR uint8; at least one.
        mattes: pictures of objects with their coverage (255 = the object), may be empty.
        side: of the rendered picture, in pixels.
        mix: how often each kind occurs.
        pixel: size of a pixel of the final picture, if this one will be downscaled to it.
    """

    def __init__(
        self,
        photos: Sequence[Pixels],
        mattes: Sequence[Matte],
        side: int,
        mix: SceneMix,
        pixel: float = 1.0,
    ) -> None:
        self.photos, self.mattes, self.side, self.mix = photos, mattes, side, mix
        self.pixel = pixel

    def render(self, rng: np.random.Generator) -> Scene:
        """Render one scene; the same state of ``rng`` gives the same scene."""
        if rng.random() >= self.mix.rescaled:
            return self._scene(rng)
        side = round(self.side * float(rng.uniform(1.1, 1.6)))
        pixel = side / self.side
        image, labels, radius = Scenes(self.photos, self.mattes, side, self.mix, pixel)._scene(rng)
        size = (self.side, self.side)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        nearest, radii = (
            cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST_EXACT)
            for truth in (labels, radius / np.float32(pixel))
        )
        return Scene(
            np.asarray(small, np.uint8),
            np.asarray(nearest, np.uint8),
            np.asarray(radii, np.float32),
        )

    def _scene(self, rng: np.random.Generator) -> Scene:
        kind, mix = rng.random(), self.mix
        if kind < (bound := mix.sharp):
            return self._plane(rng, 0.0)
        if kind < (bound := bound + mix.blurred):
            return self._plane(rng, self._radius(rng, smallest=2.0))
        if kind < (bound := bound + mix.ramp):
            return self._ramp(rng)
        if kind < (bound := bound + mix.foreground):
            return self.foreground(rng, FOREGROUNDS[int(rng.integers(len(FOREGROUNDS)))])
        if kind < bound + mix.focused:
            return self.focused(rng, FOCUSED[int(rng.integers(len(FOCUSED)))])
        return self._layers(rng)

    def focused(self, rng: np.random.Generator, kind: str) -> Scene:
        """Render a sharp ``kind`` before a blurred background, sometimes with a blurred thing in between."""
        behind, fronts = self._radius(rng, smallest=2.0), list[tuple[Values, float]]()
        if rng.random() < 0.3:
            fronts.append((self._front(rng), float(rng.uniform(0.4, 1.0)) * behind))
        alpha = draw_shape(self.side, rng, kind)
        sharp = self._shaded(alpha, rng) if rng.random() < 0.6 else self._filled(alpha, rng)
        return self._compose(self._photo(rng), [*fronts, (sharp, 0.0)], behind, rng)

    def foreground(self, rng: np.random.Generator, kind: str) -> Scene:
        """Render a blurred ``kind`` (see `shapes.SHAPES`) in front of a sharp background."""
        front = self._filled(draw_shape(self.side, rng, kind), rng)
        return self._compose(self._photo(rng), [(front, self._radius(rng, smallest=2.5))], 0.0, rng)

    # --- kinds of scenes -----------------------------------------------------------------------

    def _plane(self, rng: np.random.Generator, radius: float) -> Scene:
        return self._compose(self._photo(rng), [], radius, rng)

    def _ramp(self, rng: np.random.Generator) -> Scene:
        """Render a plane through the focus: the radius falls to 0 along a line and grows on both sides."""
        light = self._highlights(self._photo(rng), rng)
        angle, largest = rng.uniform(0, 2 * np.pi), self._radius(rng, smallest=3.0)
        across = np.linspace(-0.5, 0.5, self.side)
        place = np.add.outer(across * np.sin(angle), across * np.cos(angle))
        distance = np.abs(place - rng.uniform(-0.6, 0.6)).astype(np.float32)
        steep = largest * np.clip(distance - rng.uniform(0, 0.2), 0, None) / 0.7
        radius = np.minimum(steep, largest, dtype=np.float32)
        image = BlurStack(light, float(radius.max()), factor=1.4).at_pixels(radius)
        return Scene(to_srgb(image), classes(radius / np.float32(self.pixel)), radius)

    def _layers(self, rng: np.random.Generator) -> Scene:
        back = self._photo(rng)
        fronts = [self._front(rng) for _ in range(1 + int(rng.random() < 0.2))]
        blurred = self._radius(rng, smallest=1.8)
        match rng.choice(4, p=[0.4, 0.35, 0.1, 0.15]):
            case 0:
                radii, behind = [blurred] * len(fronts), 0.0
            case 1:
                radii, behind = [0.0] * len(fronts), blurred
            case 2:
                radii, behind = [self._radius(rng, smallest=1.8)] * len(fronts), blurred
            case _:
                radii, behind = [0.0] * len(fronts), 0.0
        if len(fronts) == 2 and rng.random() < 0.5:  # three planes of different focus
            radii[1] = float(rng.choice([0.0, self._radius(rng, smallest=1.8)]))
        return self._compose(back, list(zip(fronts, radii, strict=True)), behind, rng)

    def _compose(
        self,
        back: Values,
        fronts: Sequence[tuple[Values, float]],
        behind: float,
        rng: np.random.Generator,
    ) -> Scene:
        """Blur every layer by its own disk and lay it over what is behind it."""
        blades = int(rng.choice([0, 0, 5, 6, 7, 8]))
        turn = float(rng.uniform(0, np.pi))

        def defocus(layer: Values, radius: float) -> Values:
            return blur(layer, radius, polygon_kernel(radius, blades, turn) if blades else None)

        image = defocus(self._highlights(back, rng), behind)
        coverage: list[Values] = [np.ones((self.side, self.side), np.float32)]
        for layer, radius in fronts:
            front = defocus(self._highlights(layer, rng), radius)
            image = over(front, image)
            coverage.append(front[:, :, 3])
        radii = [behind, *(radius for _, radius in fronts)]
        labels = label(coverage, [radius / self.pixel for radius in radii])
        return Scene(to_srgb(image), labels, radius_map(coverage, radii))

    # --- material ----------------------------------------------------------------------------------

    def _radius(self, rng: np.random.Generator, smallest: float) -> float:
        """Return a circle of confusion's radius in pixels; ``smallest`` is in pixels of the final picture."""
        smallest *= self.pixel
        largest = max(self.mix.radius * self.side, smallest * 1.5)
        return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))

    def _photo(self, rng: np.random.Generator) -> Values:
        """Return a photograph's crop in linear light, N x N x 3, randomly downscaled, which sharpens it."""
        photo = self.photos[int(rng.integers(len(self.photos)))]
        least = self.side / min(photo.shape[:2])
        scale = max(least, float(rng.uniform(min(least, 1.0), 1.0)))
        size = [max(self.side, round(s * scale)) for s in photo.shape[1::-1]]
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = np.asarray(cv2.resize(photo, size, interpolation=interpolation), np.uint8)
        x, y = (int(rng.integers(s - self.side + 1)) for s in size)
        crop = small[y : y + self.side, x : x + self.side]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return to_linear(crop)

    def _front(self, rng: np.random.Generator) -> Values:
        """Return something in front of the background: N x N x 4, premultiplied linear light."""
        if self.mattes and rng.random() < 0.5:
            return self._cutout(rng)
        return self._filled(draw_shape(self.side, rng), rng)

    def _cutout(self, rng: np.random.Generator) -> Values:
        picture, coverage = self.mattes[int(rng.integers(len(self.mattes)))]
        scale = float(rng.uniform(0.5, 1.4)) * self.side / max(coverage.shape)
        less = min(scale, 1.0)  # with an area filter: the warp alone would alias
        size = [max(1, round(s * less)) for s in coverage.shape[::-1]]
        middle = np.array(size) / 2
        turn = cv2.getRotationMatrix2D(middle.tolist(), float(rng.uniform(-25, 25)), scale / less)
        move = np.asarray(turn, np.float64)
        move[:, 2] += rng.uniform(0.15, 0.85, 2) * self.side - middle
        if rng.random() < 0.5:
            move[:, 2] += move[:, 0] * (size[0] - 1)
            move[:, 0] *= -1

        def warped(image: Pixels, border: int) -> Pixels:
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            square = (self.side, self.side)
            turned = cv2.warpAffine(small, move, square, flags=cv2.INTER_CUBIC, borderMode=border)
            return np.asarray(turned, np.uint8)

        alpha = warped(coverage, cv2.BORDER_CONSTANT).astype(np.float32) / np.float32(255)
        if rng.random() < 0.3:  # the outline of an object, filled with something else
            return self._filled(alpha, rng)
        return premultiply(to_linear(warped(picture, cv2.BORDER_REPLICATE)), alpha)

    def _filled(self, alpha: Values, rng: np.random.Generator) -> Values:
        if rng.random() < 0.5:
            return premultiply(self._photo(rng) * np.float32(rng.uniform(0.5, 1.2)), alpha)
        low, high = rng.uniform(0, 0.8, 3), rng.uniform(0, 0.8, 3)
        across = np.linspace(0, 1, self.side)[:, None, None]
        plain = low + (high - low) * across * rng.uniform(0, 0.5)
        colour = np.broadcast_to(plain, (self.side, self.side, 3)).astype(np.float32)
        return premultiply(colour, alpha)

    def _shaded(self, alpha: Values, rng: np.random.Generator) -> Values:
        """Fill ``alpha`` with round things of many colours, each lighter or darker along its middle."""
        grid = (int(rng.integers(1, 16)), int(rng.integers(2, 40)), 3)
        base, own = rng.uniform(0, 0.4, 3), rng.uniform(0.2, 1.6, grid).astype(np.float32)
        own = own[:, :, :1] if rng.random() < 0.6 else own  # one colour, lighter and darker
        colour = cv2.resize(own, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        ridge = np.minimum(inside / np.float32(rng.uniform(1, 6)), 1)[:, :, None]
        light = base * np.atleast_3d(colour) * (1 + rng.uniform(-0.7, 0.7) * (ridge - 0.5))
        return premultiply(np.clip(light, 0, 1).astype(np.float32), alpha)

    @staticmethod
    def _highlights(light: Values, rng: np.random.Generator) -> Values:
        """Restore light that the photograph clipped, so that highlights bloom under the blur."""
        if rng.random() < 0.6:
            return light
        gain = rng.uniform(1, 8)
        clipped = np.clip((light[:, :, :3].min(2) - 0.8) / 0.2, 0, 1)
        boosted = light.copy()
        boosted[:, :, :3] *= (1 + gain * clipped)[:, :, None].astype(np.float32)
        return boosted
