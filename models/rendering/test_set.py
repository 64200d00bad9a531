"""A rendered test set that is always the same: what networks get wrong, without photographs.

The kinds are an out-of-focus thing (fence, leaves, fingers, stalks) in front of a sharp background, entirely
sharp and entirely blurred pictures, and two layers of which either is in focus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .optics import BLURRED, IN_FOCUS, Pixels
from .scenes import FOREGROUNDS, Scene, SceneMix, Scenes
from .textures import draw_picture

_MIXES = {
    "sharp": SceneMix(sharp=1, blurred=0, ramp=0, rescaled=0),
    "blurred": SceneMix(sharp=0, blurred=1, ramp=0, rescaled=0),
    "layers": SceneMix(sharp=0, blurred=0, ramp=0, rescaled=0),
}
KINDS = (*FOREGROUNDS, *_MIXES)
BOTH, TRIES = 0.03, 20  # minimum share of each class if a kind has both; tries to reach it
PICTURES = 12  # number of procedural pictures that a set is made from


def rendered_set(
    count: int,
    *,
    side: int = 320,
    seed: int = 0,
    kind: str | None = None,
    photos: Sequence[Pixels] = (),
) -> list[Scene]:
    """Return ``count`` scenes of ``side`` x ``side`` pixels; the same arguments give the same scenes.

    Args:
        count: number of scenes.
        side: of the pictures, in pixels.
        seed: determines the scenes.
        kind: one of `KINDS`; by default, they take turns.
        photos: photographs in focus everywhere, BGR uint8, instead of procedural pictures.

    Raises:
        ValueError: there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: one of {', '.join(KINDS)}")
    material = photos or _pictures(min(PICTURES, count), round(1.5 * side), seed)
    kinds = [kind or KINDS[index % len(KINDS)] for index in range(count)]
    return [_scene(name, material, side, (seed, index)) for index, name in enumerate(kinds)]


def _pictures(count: int, side: int, seed: int) -> list[Pixels]:
    rngs = [np.random.default_rng((seed, 1, index)) for index in range(count)]
    return [draw_picture(side, side, rng) for rng in rngs]


def _scene(kind: str, material: Sequence[Pixels], side: int, seed: tuple[int, int]) -> Scene:
    """Return the first try that shows both classes, if the kind has both; the best one if no try does."""
    scenes = Scenes(material, (), side, _MIXES.get(kind, SceneMix()))
    tries: list[tuple[float, Scene]] = []
    for attempt in range(TRIES):
        rng = np.random.default_rng((*seed, 2, attempt))
        scene = scenes.foreground(rng, kind) if kind in FOREGROUNDS else scenes.render(rng)
        share = min(float(np.mean(scene.label == c)) for c in (IN_FOCUS, BLURRED))
        if kind in ("sharp", "blurred") or share >= BOTH:
            return scene
        tries.append((share, scene))
    return max(tries, key=lambda t: t[0])[1]
