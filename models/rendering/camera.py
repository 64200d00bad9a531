"""Effects of camera and codec that act on the whole picture alike, in focus and out of focus.

Lens, demosaicking, denoising, sharpening, upscaling and compression make all of a picture softer or harsher.
A network that has not seen this mistakes soft footage for defocus.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .codec import compressed, jpeg
from .optics import Pixels, Values

PIXEL = 0.5  # blur radius of a pixel's own area, in pixels


def soften(image: Pixels, rng: np.random.Generator) -> tuple[Pixels, float]:
    """Pass ``image`` through a random camera and codec.

    Returns:
        The picture, uint8 BGR of the same size, and its softness: the radius in pixels of a disk that blurs
        as much as the lens and the upscaling (equal variance: a Gaussian of standard deviation sigma counts
        as a disk of radius 2 sigma).
    """
    variance = PIXEL**2
    picture = image.astype(np.float32)
    if rng.random() < 0.5:
        sigma = float(np.exp(rng.uniform(np.log(0.25), np.log(1.5))))
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
        variance += (2 * sigma) ** 2
    if rng.random() < 0.6:
        picture += _noise(picture.shape, rng, float(rng.uniform(0, 8)))
    if rng.random() < 0.3:
        factor = float(rng.uniform(1.2, 2.5))
        picture = _enlarged(np.asarray(picture, np.float32), factor, rng)
        variance += (0.8 * factor) ** 2 - 0.8**2
    pixels = np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)
    if rng.random() < 0.3:
        strength = float(rng.uniform(8, 40))
        pixels = np.asarray(cv2.bilateralFilter(pixels, 5, strength, 2.0), np.uint8)
    if rng.random() < 0.3:
        amount, reach = float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.6, 1.5))
        smooth = cv2.GaussianBlur(pixels, (0, 0), reach)
        pixels = np.asarray(cv2.addWeighted(pixels, 1 + amount, smooth, -amount, 0), np.uint8)
    return _encoded(pixels, rng), math.sqrt(variance)


def _noise(shape: tuple[int, ...], rng: np.random.Generator, deviation: float) -> Values:
    """Return sensor noise; half of the time it is coarser than a pixel, as after demosaicking."""
    noise = rng.standard_normal(shape, np.float32) * np.float32(deviation)
    if rng.random() < 0.5:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.7) * 2, np.float32)
    return noise


def _enlarged(picture: Values, factor: float, rng: np.random.Generator) -> Values:
    """Downscale ``picture`` by ``factor`` and back, like a camera that records more than it resolves."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    interpolation = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation), np.float32)


def _encoded(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    kind = rng.random()
    motion = (float(rng.normal(0, 2)), float(rng.normal(0, 2)))
    frames = int(rng.integers(1, 5))
    if kind < 0.5:
        options = {"crf": str(int(rng.integers(23, 41))), "preset": "veryfast"}
        return compressed(pixels, "libx264", options, motion, frames)
    if kind < 0.6:
        crf = int(rng.integers(20, 36))
        options = {"crf": str(crf), "preset": "ultrafast"}
        return compressed(pixels, "libx265", options, motion, frames)
    if kind < 0.8:
        return jpeg(pixels, int(rng.integers(40, 98)))
    return pixels
