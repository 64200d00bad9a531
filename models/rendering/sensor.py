"""The sensor adds noise after the blur, the same in focus and out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from .optics import Pixels, Values, to_srgb

MID_GRAY = 0.2140  # linear light of sRGB code 127.5
CODES = 275.6  # sRGB codes per unit of linear light at mid-gray
READ = 0.01  # linear light whose shot noise equals the read noise


class Sensor:
    """Turns linear light into a noisy sRGB picture.

    The variance of the noise is the sum of photon noise (proportional to the light) and read noise
    (constant).

    Args:
        width, height: of the picture, in pixels.
        noise: standard deviation at mid-gray, of 255.
        seed: determines the noise.
    """

    def __init__(self, width: int, height: int, *, noise: float, seed: int) -> None:
        self.size, self.noise, self.seed = (width, height), noise, seed
        shape = (2 * height, 2 * width, 3)  # each frame takes a random part of it
        self._grain = np.random.default_rng((seed, 0)).standard_normal(shape, np.float32)

    def expose(self, light: Values, index: int) -> Pixels:
        """Convert linear light H x W x 3 (BGR) to uint8, with the noise of frame ``index``."""
        return to_srgb(light + self._noise(light, index) if self.noise else light)

    def _noise(self, light: Values, index: int) -> Values:
        width, height = self.size
        rng = np.random.default_rng((self.seed, 1, index))
        x, y = int(rng.integers(width + 1)), int(rng.integers(height + 1))
        scale = (self.noise / CODES) ** 2 / (MID_GRAY + READ)
        variance = np.clip(light, 0, 1) * np.float32(scale) + np.float32(scale * READ)
        return np.asarray(cv2.multiply(cv2.sqrt(variance), self._grain[y : y + height, x : x + width]))
