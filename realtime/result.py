"""The result of the pipeline: a frame with its blur map, and everything derived from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .frame import BlurMap, Frame, Image, Radii, Roi, Values
from .overlay_style import OverlayKind, OverlayStyle
from .picture import Picture

BoxFormat = Literal["xyxy", "xywh"]
Painter = Callable[["FocusResult", OverlayKind, OverlayStyle | None], Image]


@dataclass(frozen=True)
class Timing:
    """Time spent on one result, in seconds.

    Attributes:
        arrived: value of `time.monotonic` when the frame reached this program.
        ready: value of `time.monotonic` when its map was ready.
        network: seconds in the network, including resizing.
        smoothing: seconds in temporal smoothing.
        refining: seconds in edge refinement.
        smoothing_delay: lag of the smoothed map behind the image.
    """

    arrived: float
    ready: float
    network: float = 0.0
    smoothing: float = 0.0
    refining: float = 0.0
    smoothing_delay: float = 0.0

    @property
    def waiting(self) -> float:
        """Seconds spent waiting before the network and between the stages."""
        spent = self.network + self.smoothing + self.refining
        return max(0.0, self.ready - self.arrived - spent)


class Figures(NamedTuple):
    """Summary figures of a map, both 0 to 1: the share of pixels in focus, and the mean of 1 - P."""

    in_focus_share: float
    sharpness: float


@dataclass(frozen=True, eq=False)
class FocusResult:
    """A frame with its own blur map, so an overlay can never be drawn on the wrong frame.

    Attributes:
        frame: the image and its time.
        shown: the map, temporally smoothed and spatially refined if requested.
        timing: time spent in each stage.
        raw: the unsmoothed, unrefined map of this frame at any size, or None if ``shown`` is that map.
        drawn: the picture to write, uint8 BGR, if the pipeline was asked to draw it; else None.
        model: name of the model, for legends.
        painter: draws overlays; if None, `overlay` is not available.

    Raises:
        ValueError: frame and map differ in size.
    """

    frame: Frame
    shown: BlurMap
    timing: Timing = field(default_factory=lambda: Timing(0.0, 0.0))
    raw: BlurMap | None = None
    drawn: Image | None = None
    model: str = ""
    painter: Painter | None = None

    def __post_init__(self) -> None:
        picture, shown = self.frame.image.shape[:2], self.shown.values.shape
        if picture != shown:
            raise ValueError(f"frame {picture} and map {shown} differ in size")

    def __repr__(self) -> str:
        (width, height), seconds = self.frame.size, float(self.frame.seconds)
        share = self.in_focus_share
        when = f"frame {self.frame.index} at {seconds:.3f} s"
        return f"<FocusResult {when}, {width}x{height}, {share:.0%} in focus>"

    @property
    def blur(self) -> Values:
        """P(blurred): float32 H x W in [0, 1], 0 = in focus, 1 = blurred; read-only."""
        return self.shown.values

    @property
    def in_focus(self) -> NDArray[np.bool_]:
        """Mask of the pixels with P(blurred) < 0.5: bool H x W."""
        return self.blur < 0.5

    @property
    def in_focus_share(self) -> float:
        """Share of the pixels that are in focus, 0 to 1; as `score`, of this frame's own map."""
        return self.figures.in_focus_share

    @cached_property
    def radius(self) -> Values | None:
        """Blur radius per pixel in pixels of the frame, including softness: float32 H x W, read-only.

        It belongs to this frame alone, neither smoothed nor refined. None if the network estimates no radii.
        """
        if self._radii is None:
            return None
        values = self._radii.at(self.frame.size)
        values.flags.writeable = False
        return values

    @property
    def reference(self) -> float | None:
        """Best sharpness of the footage as a blur radius in pixels; None without blur radii."""
        return None if self._radii is None else self._radii.reference

    def score(self, roi: Roi | tuple[int, int, int, int] | None = None) -> float:
        """Return how sharp a region is, 0 to 1; it peaks at best focus (see `BlurMap.score`).

        Args:
            roi: x, y, width, height in pixels, clipped to the frame; None for the whole frame. For corner
                coordinates from detectors see `scores`.

        Raises:
            ValueError: the ROI lies outside the frame.
        """
        if roi is not None and not isinstance(roi, Roi):
            roi = Roi("roi", *map(int, roi))
        return self.measured.score(roi)

    def scores(self, boxes: Any, format: BoxFormat = "xyxy") -> NDArray[np.float64]:
        """Return the `score` of many boxes.

        Args:
            boxes: N x 4 numbers in pixels: an array, a tensor on any device, or a list, such as
                `supervision.Detections.xyxy`; clipped to the frame.
            format: "xyxy" for two corners (left, top, right, bottom), "xywh" for the top-left corner, width
                and height.

        Returns:
            float64 N; NaN for a box that is outside the frame, empty or not finite.

        Raises:
            ValueError: ``boxes`` is not N x 4, or ``format`` is unknown.
        """
        found = [
            self.measured.score(Roi("box", x, y, right - x, bottom - y))
            if x < right and y < bottom
            else math.nan
            for x, y, right, bottom in _corners(boxes, format, self.frame.size)
        ]
        return np.array(found, np.float64)

    def overlay(self, kind: OverlayKind = "peaking", style: OverlayStyle | None = None) -> Picture:
        """Return the frame with an overlay: a new uint8 BGR array that carries the frame's time.

        Args:
            kind: the overlay to draw.
            style: its style; None for the defaults of `OverlayStyle`.

        Raises:
            ValueError: ``kind`` is unknown, or the result has no ``painter``.
        """
        if self.painter is None:
            raise ValueError("this result has no painter: take it from a Pipeline or a FocusStage")
        image = self.painter(self, kind, style)
        if np.may_share_memory(image, self.frame.image):
            image = image.copy()
        return Picture.of(image, self.frame)

    @cached_property
    def measured(self) -> BlurMap:
        """The map for figures and scores; it belongs to this frame alone, so no figure lags behind."""
        return self.shown if self.raw is None else self.raw.at(self.frame.size)

    @cached_property
    def figures(self) -> Figures:
        """Figures over all of `measured`."""
        return Figures(self.measured.in_focus_share(), self.measured.sharpness())

    @property
    def _radii(self) -> Radii | None:
        return (self.raw or self.shown).radii


def _corners(boxes: Any, format: str, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom of every box as whole pixels within ``size`` (width, height).

    A box that is outside, empty or not finite has right <= left or bottom <= top.

    Raises:
        ValueError: see `FocusResult.scores`.
    """
    if format not in ("xyxy", "xywh"):
        raise ValueError(f"boxes are 'xyxy' or 'xywh', got {format!r}")
    if hasattr(boxes, "detach"):  # a tensor
        boxes = boxes.detach().cpu().numpy()
    array = np.array(boxes, np.float64)
    if not array.size:
        return []
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes are N x 4 numbers, got {array.shape}")
    array[~np.isfinite(array).all(1)] = 0
    if format == "xywh":
        array[:, 2:] += array[:, :2]
    array[:, :2], array[:, 2:] = np.floor(array[:, :2]), np.ceil(array[:, 2:])
    inside = np.clip(array, 0, [*size, *size]).astype(int)
    return [(x, y, right, bottom) for x, y, right, bottom in inside.tolist()]
