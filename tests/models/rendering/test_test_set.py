"""The rendered test set: always the same, every kind what it says."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.models.rendering.optics import BLURRED, IN_FOCUS
from br2focus.models.rendering.test_set import KINDS, rendered_set
from br2focus.models.rendering.textures import draw_texture

SIDE = 160
PHOTOS = [draw_texture(SIDE, SIDE, np.random.default_rng(0), kind) for kind in ("bricks", "text")]


def test_is_always_the_same() -> None:
    one, again, other = (rendered_set(7, side=64, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(one, again, other, strict=True):
        assert (a.image == b.image).all() and (a.label == b.label).all()
        assert (a.image != c.image).any()


def test_kinds_take_turns() -> None:
    mixed = rendered_set(2 * len(KINDS), side=SIDE, photos=PHOTOS)
    assert len(mixed) == 2 * len(KINDS)
    classes = [{int(c) for c in np.unique(scene.label)} for scene in mixed]
    for place, kind in enumerate((*KINDS, *KINDS)):
        expected = {"sharp": {IN_FOCUS}, "blurred": {BLURRED}}.get(kind, {IN_FOCUS, BLURRED})
        assert expected <= classes[place]
        assert len(expected) == 2 or classes[place] == expected


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"sharp", "blurred"}))
def test_both_classes_can_be_told_apart_in_every_picture(kind: str) -> None:
    for scene in rendered_set(4, side=SIDE, kind=kind, photos=PHOTOS):
        shares = [(scene.label == c).mean() for c in (IN_FOCUS, BLURRED)]
        assert min(shares) >= 0.03


def test_photographs_take_the_place_of_procedural_pictures() -> None:
    photo = np.zeros((120, 130, 3), np.uint8)
    photo[:, :, 2] = 90
    (scene,) = rendered_set(1, side=SIDE, kind="sharp", photos=[photo])
    assert (scene.image == (0, 0, 90)).all()


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'cloud': one of fence, leaves"):
        rendered_set(1, kind="cloud")
