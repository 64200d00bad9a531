"""Rack-focus clips with a true mask for every frame, generated from a seed alone.

Three layers stand in front of a lens: a backdrop with a receding ground, a person, something near. The focus
is pulled through them while the camera and the person move. Every distance is known, and with it the mask and
the time at which an object is in best focus. The shutter is short: there is no motion blur.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np

from .optics import SHARP_RADIUS, BlurStack, Lens, Pixels, Values, label, over
from .sensor import Sensor
from .stage import Canvas, backdrop, foreground, person

NEAR, SUBJECT, FAR = 0.9, 2.2, 60.0  # metres
CAMERA_HEIGHT = 0.45  # metres above the ground
MOVE_SECONDS = 3.7  # from one side to the other and back
LENS = Lens(focal_length=0.05, f_number=1.8)


@dataclass(frozen=True)
class ClipSpec:
    """The contents of a clip.

    Attributes:
        width, height: in pixels.
        rate: frames per second.
        seconds: duration.
        seed: determines the scene.
        pulls: (second, metres in focus), in order of time. Between two, the focus moves as evenly in 1/metres
            as a focus ring, eased at both ends. Two at the same second are a jump.
        lens: determines the circle of confusion.
        walk: how far the person walks to either side, in metres.
        sway: how far a hand-held camera moves to either side, in metres; near layers move more.
        pan: how far the camera turns over the whole clip, as a fraction of the width.
        cuts: seconds at which another scene begins.
        noise: of the sensor, standard deviation at mid-gray, of 255.
        breathing: growth of the picture with the focus, as a fraction of a simple lens's.

    Raises:
        ValueError: the clip has no frames, pulls or cuts are out of order, or the lens cannot focus at a
            distance.
    """

    width: int = 640
    height: int = 360
    rate: Fraction = Fraction(25)
    seconds: float = 4.0
    seed: int = 0
    pulls: tuple[tuple[float, float], ...] = ((0.0, SUBJECT),)
    lens: Lens = LENS
    walk: float = 0.0
    sway: float = 0.0
    pan: float = 0.0
    cuts: tuple[float, ...] = ()
    noise: float = 1.5
    breathing: float = 0.0

    def __post_init__(self) -> None:
        times = [second for second, _ in self.pulls]
        if self.width < 16 or self.height < 16 or self.frames < 1:
            raise ValueError(f"{self.width} x {self.height}, {self.frames} frames: too small or short")
        if not times or times != sorted(times) or list(self.cuts) != sorted(self.cuts):
            raise ValueError("pulls (at least one) and cuts must be in order of time")
        if min(metres for _, metres in self.pulls) <= self.lens.focal_length:
            raise ValueError(f"a lens of {self.lens.focal_length} m cannot focus that near")

    @property
    def frames(self) -> int:
        """Number of frames."""
        return round(Fraction(self.seconds) * self.rate)

    def focus_at(self, second: float) -> float:
        """Return the distance in focus, in metres."""
        after = bisect_right([time for time, _ in self.pulls], second)
        if after in (0, len(self.pulls)):
            return self.pulls[max(after - 1, 0)][1]
        (start, before), (end, behind) = self.pulls[after - 1 : after + 1]
        if before == behind:
            return before
        part = (second - start) / (end - start)
        eased = part * part * (3 - 2 * part)
        return 1 / (1 / before + eased * (1 / behind - 1 / before))

    def radius_at(self, second: float, depth: Values | float) -> Values:
        """Return the radius of the circle of confusion at ``depth`` metres, in pixels, float32."""
        return self.lens.coc_radius(depth, self.focus_at(second), self.width)


class ClipFrame(NamedTuple):
    """One frame and its ground truth.

    Attributes:
        image: BGR uint8 H x W x 3.
        label: uint8 H x W, see `optics.label`.
        pts: time in seconds.
        focus_metres: distance in focus.
    """

    image: Pixels
    label: Pixels
    pts: Fraction
    focus_metres: float


class RackFocusClip:
    """The frames of a clip, in any order; a frame depends only on the specification and its index.

    The scene is built when its first frame is requested, and again after a cut in either direction.

    Args:
        spec: the contents of the clip.
        photos: BGR uint8 photographs, in focus everywhere, for the surfaces; without, they are procedural.
    """

    def __init__(self, spec: ClipSpec, photos: Sequence[Pixels] = ()) -> None:
        self.spec, self.photos = spec, photos
        self._sensor = Sensor(spec.width, spec.height, noise=spec.noise, seed=spec.seed)
        self._shot: tuple[int, _Shot] | None = None

    def __len__(self) -> int:
        return self.spec.frames

    def __iter__(self) -> Iterator[ClipFrame]:
        return (self.frame(index) for index in range(len(self)))

    def frame(self, index: int) -> ClipFrame:
        """Return frame ``index``, counted from 0.

        Raises:
            IndexError: there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a clip of {len(self)}")
        pts = index / self.spec.rate
        second = float(pts)
        number = bisect_right(self.spec.cuts, second)
        if self._shot is None or self._shot[0] != number:
            self._shot = None  # frees the memory of the last shot first
            self._shot = number, _Shot(self.spec, number, self.photos)
        light, mask = self._shot[1].at(second)
        return ClipFrame(self._sensor.expose(light, index), mask, pts, self.spec.focus_at(second))


class _Shot:
    """The layers of one scene, ready at any blur."""

    def __init__(self, spec: ClipSpec, number: int, photos: Sequence[Pixels]) -> None:
        rngs = [np.random.default_rng((spec.seed, number, layer)) for layer in range(4)]
        focal = spec.lens.focal_length / spec.lens.sensor_width * spec.width
        near = spec.sway * focal / NEAR
        margin = (_whole(near + abs(spec.pan) * spec.width / 2), _whole(near / 2))
        horizon = margin[1] + round(spec.height * float(rngs[0].uniform(0.5, 0.65)))
        canvas = Canvas(spec.width, spec.height, margin, horizon, photos)
        below = np.maximum(np.arange(canvas.size[1], dtype=np.float32) - horizon, 0.5)
        self.spec, self.canvas, self.focal = spec, canvas, focal
        ground = (focal * CAMERA_HEIGHT / below).astype(np.float32)
        # It begins behind the person; otherwise it would have to hide the feet.
        self.row_depth = np.clip(ground, SUBJECT, FAR)
        self.backdrop = self._stack(backdrop(canvas, ground, focal, rngs[1]), self.row_depth)
        self.fronts = [
            (SUBJECT, self._stack(person(canvas, rngs[2]), SUBJECT)),
            (NEAR, self._stack(foreground(canvas, rngs[3]), NEAR)),
        ]

    def at(self, second: float) -> tuple[Values, Pixels]:
        """Return linear light H x W x 3 and the true mask."""
        spec = self.spec
        row_radius = spec.radius_at(second, self.row_depth)
        move = self._move(second, FAR)
        light = self._moved(self.backdrop.at_rows(row_radius), move, cv2.BORDER_REPLICATE)
        rows = (np.arange(spec.height) - move[1, 2]) / move[1, 1]
        radius = np.interp(rows, np.arange(len(row_radius)), row_radius).astype(np.float32)
        radii: list[Values | float] = [radius[:, None]]
        coverage: list[Values] = [np.ones((spec.height, spec.width), np.float32)]
        for depth, stack in self.fronts:
            radii.append(float(spec.radius_at(second, depth)))
            move = self._move(second, depth)
            front = self._moved(stack.at(float(radii[-1])), move, cv2.BORDER_CONSTANT)
            light = over(front, light)
            coverage.append(front[:, :, 3])
        return light, label(coverage, radii)

    def _stack(self, layer: Values, depth: Values | float) -> BlurStack:
        lens, width = self.spec.lens, self.spec.width
        radii = [lens.coc_radius(depth, metres, width).max() for _, metres in self.spec.pulls]
        return BlurStack(layer, float(max(radii)), factor=1.3)

    def _move(self, second: float, depth: float) -> Values:
        """Return the transform from the canvas to the frame, 2 x 3."""
        spec, phase = self.spec, 2 * np.pi * second / MOVE_SECONDS
        aside = spec.pan * spec.width * (second / spec.seconds - 0.5)
        aside += spec.sway * np.sin(phase) * self.focal / depth
        up = spec.sway * 0.5 * np.sin(1.7 * phase) * self.focal / depth
        if depth == SUBJECT:
            aside += spec.walk * np.sin(phase) * self.focal / depth
        f = spec.lens.focal_length
        scale = 1 + spec.breathing * f / (spec.focus_at(second) - f)
        middle = np.array([spec.width - 1, spec.height - 1]) / 2
        place = middle - scale * (middle + self.canvas.margin) + np.array([aside, up])
        return np.array([[scale, 0, place[0]], [0, scale, place[1]]], np.float64)

    def _moved(self, layer: Values, move: Values, border: int) -> Values:
        size = (self.spec.width, self.spec.height)
        return np.asarray(cv2.warpAffine(layer, move, size, flags=cv2.INTER_CUBIC, borderMode=border))


def _whole(pixels: float) -> int:
    return int(np.ceil(pixels)) + 2


def best_focus(spec: ClipSpec, depth: float) -> tuple[float, ...]:
    """Return when the focus passes an object at ``depth`` metres, or stays there: seconds, in order.

    If it stays, the time is the middle of the stay. Empty if ``depth`` is never in focus.
    """
    times = np.arange(spec.frames * 16) / (16 * float(spec.rate))
    radius = np.array([float(spec.radius_at(t, depth)) for t in times.tolist()])
    found: list[float] = []
    start = 0
    for end in range(1, len(radius) + 1):
        if end < len(radius) and radius[end] == radius[start]:
            continue
        before = radius[start - 1] if start else np.inf
        after = radius[end] if end < len(radius) else np.inf
        if radius[start] < min(before, after) and radius[start] <= SHARP_RADIUS:
            found.append(float(times[start] + times[end - 1]) / 2)
        start = end
    return tuple(found)


def evaluation_clips() -> dict[str, ClipSpec]:
    """Return named clips to evaluate temporal smoothing and focus graphs on; each of about 4 seconds."""
    through = ((0.0, NEAR), (0.5, NEAR), (3.5, FAR), (4.0, FAR))
    slow = ((0.0, SUBJECT), (0.5, SUBJECT), (3.5, FAR), (4.0, FAR))
    fast = ((0.0, SUBJECT), (1.8, SUBJECT), (2.1, FAR), (4.0, FAR))
    back = (
        (0.0, SUBJECT),
        (0.5, SUBJECT),
        (1.6, NEAR),
        (2.2, NEAR),
        (3.3, SUBJECT),
        (4.0, SUBJECT),
    )
    jump = ((0.0, SUBJECT), (2.0, SUBJECT), (2.0, FAR), (4.0, FAR))
    return {
        "slow pull": ClipSpec(seed=1, pulls=slow),
        "fast pull": ClipSpec(seed=2, pulls=fast),
        "pull and back": ClipSpec(seed=3, pulls=back, breathing=0.5),
        "moving subject": ClipSpec(seed=4, pulls=slow, walk=0.25),
        "hand-held": ClipSpec(seed=5, pulls=slow, sway=0.012),
        "pan": ClipSpec(seed=6, pulls=slow, pan=0.4),
        "cut": ClipSpec(seed=7, pulls=jump, cuts=(2.0,)),
        "noisy": ClipSpec(seed=8, pulls=slow, noise=12.0),
        "three layers": ClipSpec(seed=9, pulls=through),
        "all sharp": ClipSpec(seed=10, lens=Lens(f_number=22.0), sway=0.005),
        "all blurred": ClipSpec(seed=11, pulls=((0.0, 0.6),), lens=Lens(f_number=2.8), sway=0.005),
    }
