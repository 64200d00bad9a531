"""Coverage masks of things in front of a camera: fences, stalks, leaves, fingers, blobs.

Each function draws one kind of thing on a square canvas. `draw_shape` turns the result into alpha, float32 in
[0, 1] with smooth edges. These are what real masks lack: foregrounds that are thin or have holes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
OVERSAMPLING = 3

Draw = Callable[[NDArray[np.uint8], np.random.Generator], None]


def draw_shape(side: int, rng: np.random.Generator, kind: str | None = None) -> Values:
    """Return the alpha of a thing, float32 ``side`` x ``side``; ``kind`` is a key of `SHAPES` or random."""
    canvas = np.zeros((side * OVERSAMPLING,) * 2, np.uint8)
    name = kind or str(rng.choice(COMMON))
    SHAPES[name](canvas, rng)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _point(side: int, rng: np.random.Generator, margin: float = 0.0) -> NDArray[np.float64]:
    return rng.uniform(-margin * side, (1 + margin) * side, 2)


def _line(canvas: NDArray[np.uint8], points: NDArray[np.float64], thickness: float) -> None:
    cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 255, max(1, round(thickness)))


def fence(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw parallel bars, or two crossing sets of them (wire mesh)."""
    side = len(canvas)
    spacing, share = rng.uniform(0.05, 0.25) * side, rng.uniform(0.06, 0.5)
    angle = rng.uniform(0, np.pi)
    for turn in (0.0, np.pi / 2)[: 1 + int(rng.random() < 0.5)]:
        along = np.array([np.cos(angle + turn), np.sin(angle + turn)])
        across = np.array([-along[1], along[0]])
        for offset in np.arange(-side, side, spacing):
            middle = side / 2 + across * (offset + rng.uniform(-0.03, 0.03) * spacing)
            ends = np.stack([middle - along * side, middle + along * side])
            _line(canvas, ends, spacing * share)


def stalks(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw thin curved lines that rise from the lower edge, like grass or cables."""
    side = len(canvas)
    for _ in range(rng.integers(3, 30)):
        foot, lean, bend = rng.uniform(-0.1, 1.1), rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4)
        t = np.linspace(0, 1, 24)
        x = foot + lean * t + bend * t**2
        y = 1.05 - rng.uniform(0.3, 1.2) * t
        _line(canvas, np.stack([x, y], 1) * side, rng.uniform(0.004, 0.025) * side)


def blades(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw tufts of grass: curved, pointed blades, close together, from the lower edge."""
    side = len(canvas)
    for _ in range(rng.integers(1, 5)):
        tuft, spread, tall = rng.uniform(0, 1), rng.uniform(0.02, 0.25), rng.uniform(0.2, 0.9)
        for _ in range(rng.integers(4, 25)):
            t = np.linspace(0, 1, 16)
            foot, lean, bend = tuft + rng.normal(0, spread), *rng.normal(0, 0.15, 2)
            x = foot + lean * t + bend * t**2
            y = 1.05 - tall * rng.uniform(0.4, 1) * t
            half = rng.uniform(0.003, 0.015) * (1 - t**2)
            outline = np.concatenate([np.stack([x - half, y], 1), np.stack([x + half, y], 1)[::-1]])
            cv2.fillPoly(canvas, [np.round(outline * side).astype(np.int32)], 255)


def leaves(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw ellipses at random angles around a few places."""
    side = len(canvas)
    for _ in range(rng.integers(1, 5)):
        place, spread = _point(side, rng, 0.1), rng.uniform(0.05, 0.3) * side
        for _ in range(rng.integers(3, 25)):
            centre = np.round(place + rng.normal(0, spread, 2)).astype(int)
            length = rng.uniform(0.02, 0.12) * side
            axes = (round(length), round(length * rng.uniform(0.25, 0.7)))
            turn = float(rng.uniform(0, 360))
            cv2.ellipse(canvas, (int(centre[0]), int(centre[1])), axes, turn, 0, 360, 255, -1)


def fingers(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw a few thick rounded lines from one edge, like fingers or a pole in front of the lens."""
    side = len(canvas)
    edge = rng.integers(4)
    for _ in range(rng.integers(1, 5)):
        start = _point(side, rng)
        start[edge % 2] = -0.05 * side if edge < 2 else 1.05 * side
        end = start + (_point(side, rng) - start) * rng.uniform(0.4, 1.1)
        _line(canvas, np.stack([start, end]), rng.uniform(0.04, 0.16) * side)


def hairs(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw hair, whiskers, wires: long curves of one to a few pixels, some of them crossing."""
    side = len(canvas)
    for _ in range(rng.integers(2, 9)):
        root, aim, spread = _point(side, rng), rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.8)
        for _ in range(rng.integers(2, 14)):
            t = np.linspace(0, 1, 20)[:, None]
            turn = aim + rng.normal(0, spread)
            along = np.array([[np.cos(turn), np.sin(turn)]])
            across = np.array([[-np.sin(turn), np.cos(turn)]])
            reach, bend = rng.uniform(0.1, 0.9) * side, rng.normal(0, 0.15) * side
            curve = root + rng.normal(0, 0.02, 2) * side + reach * t * along + bend * t**2 * across
            _line(canvas, curve, OVERSAMPLING * float(np.exp(rng.uniform(0, np.log(6)))))


def panicles(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw seed heads: thin stalks with small grains along them."""
    side = len(canvas)
    for _ in range(rng.integers(2, 10)):
        t = np.linspace(0, 1, 40)
        foot, lean, bend = _point(side, rng, 0.1), *rng.normal(0, 0.5, 2)
        x = foot[0] + side * (lean * t + bend * t**2)
        y = foot[1] - side * rng.uniform(0.2, 0.9) * (t - rng.uniform(0, 0.7) * t**2)
        _line(canvas, np.stack([x, y], 1), rng.uniform(0.001, 0.004) * side)
        grain = rng.uniform(0.003, 0.01) * side
        for place in rng.uniform(0.3, 1.0, rng.integers(10, 70)):
            at = np.array([np.interp(place, t, x), np.interp(place, t, y)]) + rng.normal(0, grain, 2)
            axes = (max(1, round(grain)), max(1, round(grain * rng.uniform(0.3, 0.7))))
            centre = (int(at[0]), int(at[1]))
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 360)), 0, 360, 255, -1)


def lettering(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw a few lines of text, in strokes down to two pixels."""
    side = len(canvas)
    size = float(np.exp(rng.uniform(np.log(0.008), np.log(0.03)))) * side / 8
    letters = np.array(list("abcdefghkmnopqrstuvxyzABCDEFGHKLMNPRSTUVXYZ0123456789   "))
    top = float(rng.uniform(0.05, 0.6)) * side
    for line in range(int(rng.integers(2, 9))):
        text = "".join(rng.choice(letters, int(rng.integers(6, 24))))
        place = (int(rng.uniform(-0.05, 0.3) * side), int(top + line * 42 * size))
        font = cv2.FONT_HERSHEY_DUPLEX
        cv2.putText(canvas, text, place, font, size, 255, max(2, round(2.4 * size)))


def blob(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw smooth noise above a threshold: an irregular outline, sometimes with holes."""
    cells = int(rng.integers(3, 9))
    noise = cv2.resize(rng.normal(size=(cells, cells)), canvas.shape, interpolation=cv2.INTER_CUBIC)
    canvas[noise > np.quantile(noise, rng.uniform(0.4, 0.85))] = 255


def polygon(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw a star-shaped outline with straight edges: signs, tables, buildings."""
    side = len(canvas)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    radius = rng.uniform(0.15, 0.5, len(angles)) * side
    points = _point(side, rng) + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 255)


SHAPES: dict[str, Draw] = {
    "fence": fence,
    "stalks": stalks,
    "leaves": leaves,
    "fingers": fingers,
    "blob": blob,
    "polygon": polygon,
    "blades": blades,
    "hairs": hairs,
    "panicles": panicles,
    "lettering": lettering,
}
COMMON = ("fence", "stalks", "leaves", "fingers", "blob", "polygon")  # kinds of a random thing
