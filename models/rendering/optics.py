"""Rendering of defocus: thin-lens optics, disk blur in linear light, layers on top of each other.

A scene is a few layers at different depths, back to front. Each is blurred by the disk of its circle of
confusion, colour and coverage (alpha) together, and laid over what is behind it. So an out-of-focus
foreground bleeds over a sharp background, and a background never bleeds over a sharp foreground. Everything
here is linear light, premultiplied by alpha; noise and encoding come later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

IN_FOCUS, BLURRED, IGNORED = 0, 1, 2
SHARP_RADIUS, BLURRED_RADIUS = 1.0, 1.5  # of the circle of confusion, in pixels; radii in between are ignored


@dataclass(frozen=True)
class Lens:
    """A thin lens in front of a sensor; lengths in metres.

    Attributes:
        focal_length: 0.05 is a 50 mm lens.
        f_number: focal length / diameter of the aperture.
        sensor_width: 0.036 is full frame.
    """

    focal_length: float = 0.05
    f_number: float = 1.8
    sensor_width: float = 0.036

    def coc_radius(self, depth: Values | float, focus: float, width: int) -> Values:
        """Return the radius of the circle of confusion, float32 pixels of an image ``width`` pixels wide.

        Args:
            depth: distance of the object in metres, a number or an array of any shape.
            focus: distance of the plane in focus in metres.
            width: of the image, in pixels.

        Raises:
            ValueError: the focus is not beyond the focal length, or a depth is not positive.
        """
        z = np.asarray(depth, np.float64)
        if focus <= self.focal_length or not (z > 0).all():
            raise ValueError(
                f"focus at {focus} m, nearest depth {z.min()} m: a lens of {self.focal_length} m "
                "focuses beyond its focal length, on objects before it"
            )
        aperture = self.focal_length / self.f_number
        magnification = self.focal_length / (focus - self.focal_length)
        diameter = aperture * np.abs(1 - focus / z) * magnification
        return np.asarray(diameter / 2 / self.sensor_width * width, np.float32)


def to_linear(image: Pixels) -> Values:
    """Convert sRGB uint8 of any shape to linear light, float32 in [0, 1]."""
    code = np.arange(256) / 255
    table = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return np.asarray(table.astype(np.float32)[image])


def to_srgb(light: Values) -> Pixels:
    """Convert linear light, float32 of any shape clipped to [0, 1], to sRGB uint8."""
    steps = 1 << 14
    value = np.arange(steps + 1) / steps
    code = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    table = np.round(code * 255).astype(np.uint8)
    return np.asarray(table[(np.clip(light, 0, 1) * steps + 0.5).astype(np.uint16)])


def disk_kernel(radius: float) -> Values:
    """Return a disk with a smooth edge, float32 K x K with odd K, summing to 1; radius in pixels."""
    half = int(np.ceil(radius))
    if radius < 0.5:  # inside one pixel
        return np.ones((1, 1), np.float32)
    oversampling = 8
    places = (np.arange((2 * half + 1) * oversampling) + 0.5) / oversampling - half - 0.5
    inside = np.add.outer(places**2, places**2) <= radius**2
    cells = inside.reshape(2 * half + 1, oversampling, 2 * half + 1, oversampling)
    kernel = cells.mean((1, 3))
    return np.asarray(kernel / kernel.sum(), np.float32)


def polygon_kernel(radius: float, blades: int, turn: float = 0.0) -> Values:
    """Return the image of an aperture with straight blades: a regular polygon in a disk of ``radius`` pixels.

    Args:
        radius: of the circle through the corners, in pixels.
        blades: number of corners, at least 3.
        turn: angle in radians.

    Returns:
        float32 K x K with odd K, summing to 1.
    """
    half = int(np.ceil(radius))
    if radius < 0.5:
        return np.ones((1, 1), np.float32)
    side = 2 * half + 1
    oversampling = max(8, int(np.ceil(48 / radius)))  # coarser cells would shift a small polygon
    places = (np.arange(side * oversampling) + 0.5) / oversampling - side / 2
    inside = np.ones((len(places),) * 2)
    for edge in turn + (np.arange(blades) + 0.5) * 2 * np.pi / blades:
        distance = np.add.outer(places * np.sin(edge), places * np.cos(edge))
        within = radius * np.cos(np.pi / blades) - distance
        inside *= np.clip(within * oversampling + 0.5, 0, 1)
    cells = inside.reshape(side, oversampling, side, oversampling).mean((1, 3))
    return np.asarray(cells / cells.sum(), np.float32)


def blur(light: Values, radius: float, kernel: Values | None = None) -> Values:
    """Blur ``light`` (float32 H x W or H x W x C) with a disk of ``radius`` pixels, or with ``kernel``.

    Beyond its edges, the picture continues with its last pixels.
    """
    kernel = disk_kernel(radius) if kernel is None else kernel
    if kernel.size == 1:
        return light
    return np.asarray(cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def premultiply(light: Values, alpha: Values) -> Values:
    """Combine linear light H x W x 3 and coverage H x W in [0, 1] to premultiplied float32 H x W x 4."""
    return np.dstack([light * alpha[:, :, None], alpha]).astype(np.float32)


def over(front: Values, back: Values) -> Values:
    """Lay ``front`` (H x W x 4, premultiplied) over ``back`` (H x W x C, its first 3 are colour)."""
    return np.asarray(front[:, :, :3] + (1 - front[:, :, 3:]) * back[:, :, :3], np.float32)


class BlurStack:
    """One layer under a series of disk radii, so that a focus pull costs a mix of two, not a blur.

    The radii grow by a factor of about 1.25 (by half a pixel at the small end). Between two radii, their
    results are mixed, which looks like the true disk but is not quite the same.

    Args:
        layer: float32 H x W x C, linear light.
        largest: the largest radius that will be requested, in pixels.
        factor: from one radius to the next; larger is coarser and faster.
    """

    def __init__(self, layer: Values, largest: float, factor: float = 1.25) -> None:
        radii = [0.0, 0.5, 1.0, 1.5, 2.0]
        while radii[-1] < largest:
            radii.append(radii[-1] * factor)
        self.radii = np.array(radii)
        self._levels = np.stack([blur(layer, r) for r in radii])
        self._levels.setflags(write=False)  # `at` returns them

    def at(self, radius: float) -> Values:
        """Return the layer under a disk of ``radius`` pixels, float32 H x W x C; may be read-only."""
        level, part = self._place(np.array(radius))
        if part == 0:
            return np.asarray(self._levels[level])
        less, more = self._levels[level], self._levels[level + 1]
        return np.asarray(cv2.addWeighted(less, 1 - float(part), more, float(part), 0))

    def at_rows(self, radius: Values) -> Values:
        """Return a plane that recedes: row ``y`` under a disk of ``radius[y]`` pixels, float32 H x W x C."""
        level, part = self._place(radius)
        rows = np.arange(len(radius))
        weight = part.astype(np.float32)[:, None, None]
        above = np.minimum(level + 1, len(self.radii) - 1)
        return self._mix(self._levels[level, rows], self._levels[above, rows], weight)

    def at_pixels(self, radius: Values) -> Values:
        """Return every pixel under its own disk; ``radius`` is float32 H x W, the result H x W x C."""
        level, part = self._place(radius)
        rows, columns = np.indices(radius.shape, sparse=True)
        above = np.minimum(level + 1, len(self.radii) - 1)
        weight = part.astype(np.float32)[:, :, None]
        less, more = self._levels[level, rows, columns], self._levels[above, rows, columns]
        return self._mix(less, more, weight)

    def _place(self, radius: Values) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        place = np.interp(radius, self.radii, np.arange(len(self.radii)))
        level = np.floor(place).astype(np.intp)
        return level, place - level

    @staticmethod
    def _mix(less: Values, more: Values, part: Values) -> Values:
        return np.asarray(less + part * (more - less), np.float32)


def classes(radius: Values) -> Pixels:
    """Convert circles of confusion in pixels, of any shape, to `IN_FOCUS`, `BLURRED` or `IGNORED`, uint8.

    In focus up to `SHARP_RADIUS`, blurred from `BLURRED_RADIUS` on, ignored in between.
    """
    between = np.where(radius <= SHARP_RADIUS, IN_FOCUS, IGNORED)
    return np.where(radius >= BLURRED_RADIUS, BLURRED, between).astype(np.uint8)


def label(coverage: Sequence[Values], radii: Sequence[Values | float]) -> Pixels:
    """Return the true mask of a picture, uint8 H x W: the `classes` of what covers more than half of a pixel.

    Within a few pixels of an edge between the two classes, where a blurred edge shows both at once, the mask
    is `IGNORED`.

    Args:
        coverage: alpha of each layer as composed, float32 H x W, back to front; the first covers all.
        radii: circle of confusion of each layer in pixels, a number or an array that broadcasts to H x W.
    """
    mask = np.zeros(coverage[0].shape, np.uint8)
    mixed = np.zeros(coverage[0].shape, np.bool_)
    for alpha, radius in zip(coverage, radii, strict=True):
        own = classes(np.asarray(radius, np.float32))
        both = (alpha > 0.15) & (alpha < 0.85) & (mask != own)
        mixed = (mixed & (alpha <= 0.9)) | both
        mask = np.where(alpha > 0.5, own, mask)
    mask[mixed & _near_both(mask)] = IGNORED
    return mask


def _near_both(mask: Pixels) -> NDArray[np.bool_]:
    """Return where both classes are within 4 pixels."""
    square = np.ones((9, 9), np.uint8)
    near = [cv2.dilate((mask == c).astype(np.uint8), square) for c in (IN_FOCUS, BLURRED)]
    return np.asarray((near[0] > 0) & (near[1] > 0))


def radius_map(coverage: Sequence[Values], radii: Sequence[Values | float]) -> Values:
    """Return the blur radius of the layer that covers more than half of each pixel.

    Args:
        coverage: alpha of each layer as composed, float32 H x W, back to front; the first covers all.
        radii: circle of confusion of each layer in pixels, a number or an array that broadcasts to H x W.

    Returns:
        float32 H x W in pixels; NaN where two layers of different blur mix.
    """
    radius = np.zeros(coverage[0].shape, np.float32)
    mixed = np.zeros(coverage[0].shape, np.bool_)
    for alpha, value in zip(coverage, radii, strict=True):
        own = np.broadcast_to(np.asarray(value, np.float32), radius.shape)
        differs = np.abs(own - radius) > 0.3 + 0.3 * np.maximum(own, radius)
        mixed = (mixed & (alpha <= 0.9)) | ((alpha > 0.15) & (alpha < 0.85) & differs)
        radius = np.where(alpha > 0.5, own, radius)
    return np.where(mixed, np.float32(np.nan), radius)
