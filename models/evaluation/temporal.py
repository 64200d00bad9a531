"""Metrics of maps over time: how much they flicker, whether they move with the picture, how late they are.

Maps are float arrays T x H x W in [0, 1], 1 = blurred. Pictures are uint8 BGR T x H x W x 3. Labels are uint8
T x H x W: 0 = in focus, 1 = blurred, anything else is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.floating]
Pictures = NDArray[np.uint8]

EARLIEST, LATEST = -2, 8  # frames that a map may lead or lag
CONSISTENT = 1.0  # pixels by which forward and backward flow may disagree


def flicker(maps: Maps) -> tuple[float, float]:
    """Measure the flicker of maps of one still picture.

    Returns:
        The mean over pixels of the standard deviation over time, and the share of values on the other side of
        .5 than the mean of their pixel.
    """
    mean = maps.mean(0)
    crossing = (maps >= 0.5) != (mean >= 0.5)
    return float(maps.std(0).mean()), float(crossing.mean())


def warp_errors(kinds: Sequence[Maps], pictures: Pictures) -> list[float]:
    """Return the mean of (P_t - P_{t+1} warped back by the flow)^2, where forward and backward flow agree.

    Args:
        kinds: several versions of the maps of the same pictures; the flow is the same for all.
        pictures: see the module.
    """
    errors: list[list[float]] = [[] for _ in kinds]
    grays = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for t in range(len(pictures) - 1):
        there = np.asarray(flow.calc(grays[t], grays[t + 1], None))  # type: ignore[call-overload]
        back = np.asarray(flow.calc(grays[t + 1], grays[t], None))  # type: ignore[call-overload]
        x, y = _moved(there)
        returned = there + np.asarray(cv2.remap(back, x, y, cv2.INTER_LINEAR))
        seen = (np.linalg.norm(returned, axis=2) < CONSISTENT) & _inside(x, y)
        if not seen.any():
            continue
        for maps, found in zip(kinds, errors, strict=True):
            after = cv2.remap(maps[t + 1].astype(np.float32), x, y, cv2.INTER_LINEAR)
            found.append(float(np.square(maps[t] - np.asarray(after))[seen].mean()))
    return [float(np.mean(found)) if found else 0.0 for found in errors]


def mae_over_time(maps: Maps, labels: Pictures) -> float:
    """Return the mean absolute error over labelled pixels, averaged over the frames."""
    return float(np.mean([_mae(p, label) for p, label in zip(maps, labels, strict=True)]))


def lag_frames(maps: Maps, labels: Pictures) -> float:
    """Return the delay in frames at which ``maps`` fit ``labels`` best.

    There, the error of the shifted maps is smallest; a parabola through this error and its neighbours gives
    fractions of a frame.
    """
    judged = range(-EARLIEST, len(maps) - LATEST)
    delays = range(EARLIEST, LATEST + 1)
    errors = [float(np.mean([_mae(maps[t + d], labels[t]) for t in judged])) for d in delays]
    best = int(np.argmin(errors))
    if not 0 < best < len(errors) - 1:
        return float(delays[best])
    before, least, after = errors[best - 1 : best + 2]
    return delays[best] + 0.5 * (before - after) / (before - 2 * least + after)


def jittered(
    picture: Pictures, count: int, *, sigma: float, shift: float, seed: int = 0
) -> Sequence[Pictures]:
    """Return ``count`` pictures of a still, each with its own sensor noise and a small shift.

    Args:
        picture: uint8 BGR H x W x 3.
        count: number of pictures.
        sigma: of the noise, in gray levels.
        shift: largest shift to either side, in pixels.
        seed: determines noise and shifts.
    """
    rng, made = np.random.default_rng(seed), []
    height, width = picture.shape[:2]
    for _ in range(count):
        x, y = rng.uniform(-shift, shift, 2)
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        moved = cv2.warpAffine(
            picture,
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        noisy = moved + rng.normal(0, sigma, moved.shape)
        made.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return made


def _mae(blur: Maps, label: Pictures) -> float:
    known = label <= 1
    return float(np.abs(blur.astype(np.float64) - label)[known].mean()) if known.any() else 0.0


def _inside(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which positions are in the picture."""
    height, width = x.shape[0], x.shape[1]
    inside: NDArray[np.bool_] = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside


def _moved(flow: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] + flow[..., 0].astype(np.float32)
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1].astype(np.float32)
    return x, y
