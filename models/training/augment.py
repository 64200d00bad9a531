"""Random changes to a training pair that keep its labels true.

Whatever the camera and the codec add to a picture (noise, JPEG) is the same in blurred and in-focus regions.
Otherwise the network would learn the noise instead of the blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.models.evaluation.masks import Sample
from br2focus.models.limits import tolerance
from br2focus.models.rendering.codec import jpeg
from br2focus.models.rendering.native import NativeScene

UNKNOWN = np.full((1, 1), np.nan, np.float32)
CERTAIN = 1.3  # a radius above this multiple of the tolerance is blurred; between the two, there is no label


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the random changes.

    Attributes:
        crop: side of the square crop in pixels, after scaling.
        scale: smallest and largest random scale of the picture before the crop.
        rotation: largest angle in degrees; corners outside the picture are ignored, not labelled.
        colour: largest relative change of contrast, brightness and saturation.
        noise: largest standard deviation of added Gaussian noise, of 255.
        jpeg: lowest quality of a random JPEG round trip (100: never).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    crop: int = 256
    scale: tuple[float, float] = (0.45, 1.0)
    rotation: float = 0.0
    colour: float = 0.3
    noise: float = 8.0
    jpeg: int = 40

    def __post_init__(self) -> None:
        if self.crop < 1 or not 0 < self.scale[0] <= self.scale[1] or not 0 <= self.jpeg <= 100:
            raise ValueError(
                f"crop = {self.crop}, scale = {self.scale}, jpeg = {self.jpeg}: crop is at least 1, "
                "0 < smallest <= largest scale, jpeg is 0 to 100"
            )


class Crop(NamedTuple):
    """A training crop, and what is known about it.

    Attributes:
        sample: the crop as the network sees it, N x N.
        luma: uint8 M x M at the frame's own pixels, or None.
        radius: blur radius in pixels of the frame, float32 N x N or 1 x 1, NaN if unknown.
        softness: of camera and codec as a blur radius in pixels of the frame, NaN if unknown.
        width: of the whole frame in pixels.
    """

    sample: Sample
    luma: NDArray[np.uint8] | None = None
    radius: NDArray[np.float32] = UNKNOWN
    softness: float = float("nan")
    width: float = 640.0


def augment(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """Return a random crop of ``sample``, crop x crop pixels; pixels outside the picture are not valid."""
    return develop(_crop(sample, config, rng), config, rng)


def develop(
    sample: Sample, config: AugmentConfig, rng: np.random.Generator, *, mirror: bool = True
) -> Sample:
    """Apply what a camera and a codec do to all of ``sample`` alike: flip, colour, noise, JPEG."""
    image, mask, valid = sample
    if mirror and rng.random() < 0.5:
        image, mask, valid = image[:, ::-1], mask[:, ::-1], valid[:, ::-1]
    light = _colour(image.astype(np.float32), config.colour, rng)
    if config.noise and rng.random() < 0.5:
        light += rng.normal(0, rng.uniform(0, config.noise), light.shape).astype(np.float32)
    pixels = np.clip(light + 0.5, 0, 255).astype(np.uint8)
    if config.jpeg < 100 and rng.random() < 0.5:
        pixels = jpeg(pixels, int(rng.integers(config.jpeg, 100)))
    return Sample(np.ascontiguousarray(pixels), mask, valid)


def native_crop(sample: Sample, config: AugmentConfig, long_side: int, rng: np.random.Generator) -> Crop:
    """Return a random crop of a photograph together with its own pixels.

    The photograph is sometimes downscaled first, as from a camera with fewer pixels. The network then sees it
    at ``long_side``, or smaller still.
    """
    scale = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.6, 1.0))
    image = sample.image
    classes = _classes(sample)
    if scale < 1:
        size = [round(side * scale) for side in sample.mask.shape[::-1]]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        small = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
        classes = np.asarray(small, np.uint8)
    longest = max(image.shape[:2])
    usual = max(1.0, longest / long_side)
    ratio = usual * float(rng.uniform(0.95, 1.1) if rng.random() < 0.6 else rng.uniform(1, 1.6))
    side = max(config.crop, round(config.crop * ratio / 4) * 4)
    image, classes = _window(image, classes, side, rng)
    whole = develop(Sample(image, classes == 1, classes != 2), config, rng)
    seen = cv2.resize(_classes(whole), (config.crop,) * 2, interpolation=cv2.INTER_NEAREST_EXACT)
    return _with_luma(whole.image, np.asarray(seen, np.uint8), config.crop)._replace(width=float(longest))


def _window(
    image: NDArray[np.uint8], classes: NDArray[np.uint8], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ``side`` x ``side`` pixels; beyond the picture they are its reflection, without a label."""
    height, width = classes.shape
    y, x = (int(rng.integers(max(0, s - side) + 1)) for s in (height, width))
    part, labels = image[y : y + side, x : x + side], classes[y : y + side, x : x + side]
    below, right = (max(0, side - s) for s in part.shape[:2])
    grown = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REFLECT)
    known = cv2.copyMakeBorder(labels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=[2])
    return np.asarray(grown, np.uint8), np.asarray(known, np.uint8)


def shown(scene: NativeScene, config: AugmentConfig, rng: np.random.Generator) -> Crop:
    """Return a rendered scene with its own light, noise and codec, labelled by its blur radius."""
    radius = scene.radius.astype(np.float32)
    allowed = tolerance(scene.width, scene.softness)
    classes = np.where(radius <= allowed, 0, np.where(radius > CERTAIN * allowed, 1, 2))
    mirrored = rng.random() < 0.5
    image = scene.image[:, ::-1] if mirrored else scene.image
    nothing = np.zeros((0, 0), np.bool_)
    plain = develop(Sample(image, nothing, nothing), config, rng, mirror=False)
    crop = _with_luma(plain.image, classes.astype(np.uint8), config.crop)
    if mirrored:
        labels = Sample(crop.sample.image, crop.sample.mask[:, ::-1], crop.sample.valid[:, ::-1])
        crop, radius = crop._replace(sample=labels), radius[:, ::-1]
    return crop._replace(radius=radius, softness=scene.softness, width=float(scene.width))


def at_network_size(sample: Sample, long_side: int) -> Crop:
    """Return ``sample`` of a frame no larger than the network's input: there are no other pixels."""
    luma = cv2.cvtColor(sample.image, cv2.COLOR_BGR2GRAY)
    return Crop(sample, np.asarray(luma, np.uint8), width=float(long_side))


def _with_luma(image: NDArray[np.uint8], classes: NDArray[np.uint8], side: int) -> Crop:
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return Crop(Sample(np.asarray(small, np.uint8), classes == 1, classes != 2), np.asarray(luma, np.uint8))


def _crop(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """Scale, rotate and crop ``sample``; it is downscaled with an area filter."""
    height, width = sample.mask.shape
    scale = float(rng.uniform(*config.scale))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(sample.image, size, interpolation=interpolation)
    classes = _classes(sample)
    # The exact form samples at pixel centres, like the area filter; the plain form is off by .5 px.
    small = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    crop = config.crop
    centre = [rng.uniform(min(crop / 2, s / 2), max(s - crop / 2, s / 2)) for s in size]
    angle = float(rng.uniform(-config.rotation, config.rotation))
    move = np.asarray(cv2.getRotationMatrix2D((centre[0], centre[1]), angle, 1.0), np.float64)
    # Without a rotation, shift by whole pixels: interpolation would blur what is labelled in focus.
    shift = np.array([crop / 2 - centre[0], crop / 2 - centre[1]])
    move[:, 2] += shift if angle else np.round(shift)
    image = cv2.warpAffine(scaled, move, (crop, crop), borderMode=cv2.BORDER_REFLECT_101)
    labels = cv2.warpAffine(small, move, (crop, crop), flags=cv2.INTER_NEAREST, borderValue=2)
    return Sample(np.asarray(image, np.uint8), labels == 1, labels != 2)


def _colour(image: NDArray[np.float32], amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    contrast, brightness, saturation = rng.uniform(-amount, amount, 3)
    gray = image.mean(2, keepdims=True)
    image = gray + (image - gray) * np.float32(1 + saturation)
    mean = np.float32(image.mean())
    changed = (image - mean) * np.float32(1 + contrast) + mean * np.float32(1 + brightness)
    return np.asarray(changed, np.float32)


def _classes(sample: Sample) -> NDArray[np.uint8]:
    """Return 1 where blurred, 0 where in focus, 2 where there is no label."""
    return np.where(sample.valid, sample.mask, 2).astype(np.uint8)
