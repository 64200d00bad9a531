"""Where a picture lies in a widget, counted in the screen's own pixels. No Qt here: numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from br2focus.realtime.frame import Roi

MIN_SIDE = 8  # of a region, in pixels of the picture
TAP_SHARE = 8  # a tapped region is this part of the shorter side


@dataclass(frozen=True)
class Placement:
    """A picture of ``picture`` (width, height) in an ``area`` of device pixels.

    Attributes:
        scale: device pixels a picture pixel; 1 is one to one.
        left, top: device pixel at which the picture begins; negative when it is larger than the area.
    """

    picture: tuple[int, int]
    area: tuple[int, int]
    scale: float
    left: int
    top: int

    @property
    def centre(self) -> tuple[float, float]:
        """The picture's point in the middle of the area, as far as there is one."""
        x, y = self.to_picture(self.area[0] / 2, self.area[1] / 2)
        return min(max(x, 0.0), self.picture[0]), min(max(y, 0.0), self.picture[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture in device pixels."""
        width, height = (max(1, round(side * self.scale)) for side in self.picture)
        return width, height

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """Picture coordinates of a point in device pixels; may lie outside the picture."""
        return (x - self.left) / self.scale, (y - self.top) / self.scale

    def to_device(self, x: float, y: float) -> tuple[float, float]:
        """Device pixels of a point in picture coordinates."""
        return x * self.scale + self.left, y * self.scale + self.top

    def visible(self) -> tuple[int, int, int, int]:
        """x, y, width and height of the whole picture pixels that are at least partly inside the area."""
        x0, y0 = (max(0, int(v)) for v in self.to_picture(0, 0))
        x1, y1 = self.to_picture(*self.area)
        width, height = self.picture
        right, bottom = min(width, math.ceil(x1)), min(height, math.ceil(y1))
        return x0, y0, max(0, right - x0), max(0, bottom - y0)


def place(
    picture: tuple[int, int],
    area: tuple[int, int],
    scale: float | None,
    centre: tuple[float, float],
) -> Placement:
    """Fit ``picture`` into ``area`` (``scale`` None), or show it at ``scale`` around ``centre``.

    No empty border is shown that another position would avoid.

    Args:
        picture, area: width and height, in pixels and device pixels.
        scale: device pixels a picture pixel, or None.
        centre: of the view, in picture pixels.
    """
    fitted = min(area[0] / picture[0], area[1] / picture[1])
    used = fitted if scale is None else scale
    starts = []
    for side, room, middle in zip(picture, area, centre, strict=True):
        length = max(1, round(side * used))
        start = round(room / 2 - middle * used)
        starts.append((room - length) // 2 if length <= room else min(0, max(room - length, start)))
    return Placement(picture, area, used, starts[0], starts[1])


def spanned(a: tuple[float, float], b: tuple[float, float], size: tuple[int, int]) -> Roi | None:
    """The region between two corners, clipped to a picture of ``size``; None if it is too small."""
    xs, ys = sorted((a[0], b[0])), sorted((a[1], b[1]))
    x0, x1 = (min(max(round(x), 0), size[0]) for x in xs)
    y0, y1 = (min(max(round(y), 0), size[1]) for y in ys)
    if x1 - x0 < MIN_SIDE or y1 - y0 < MIN_SIDE:
        return None
    return Roi("", x0, y0, x1 - x0, y1 - y0)


def tapped(point: tuple[float, float], size: tuple[int, int]) -> Roi:
    """A square region around ``point``, moved into a picture of ``size``."""
    side = max(MIN_SIDE, min(size) // TAP_SHARE)
    side = min(side, *size)
    x, y = (min(max(round(at - side / 2), 0), room - side) for at, room in zip(point, size, strict=True))
    return Roi("", x, y, side, side)


def moved(roi: Roi, by: tuple[float, float], size: tuple[int, int]) -> Roi:
    """``roi`` shifted, but not out of a picture of ``size``."""
    x = min(max(round(roi.x + by[0]), 0), max(size[0] - roi.width, 0))
    y = min(max(round(roi.y + by[1]), 0), max(size[1] - roi.height, 0))
    return roi._replace(x=x, y=y)


def grown(roi: Roi, by: int, size: tuple[int, int]) -> Roi:
    """``roi`` larger (or smaller) by ``by`` pixels at every side, inside a picture of ``size``."""
    width = min(max(roi.width + 2 * by, MIN_SIDE), size[0])
    height = min(max(roi.height + 2 * by, MIN_SIDE), size[1])
    centred = roi._replace(
        x=roi.x + (roi.width - width) // 2,
        y=roi.y + (roi.height - height) // 2,
        width=width,
        height=height,
    )
    return moved(centred, (0, 0), size)


def at_corner(roi: Roi, point: tuple[float, float], reach: float) -> bool:
    """Whether ``point`` is within ``reach`` pixels of the corner by which ``roi`` is resized."""
    x, y = roi.x + roi.width, roi.y + roi.height
    return abs(point[0] - x) <= reach and abs(point[1] - y) <= reach


def inside(roi: Roi, point: tuple[float, float]) -> bool:
    """Whether ``point`` lies in ``roi``."""
    return 0 <= point[0] - roi.x < roi.width and 0 <= point[1] - roi.y < roi.height


def free_name(rois: tuple[Roi, ...]) -> str:
    """The first of A, B, ... Z, A1, ... that no region has."""
    taken = {roi.name for roi in rois}
    number = 0
    while True:
        name = chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")
        if name not in taken:
            return name
        number += 1
