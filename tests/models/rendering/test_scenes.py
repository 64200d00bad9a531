"""Random scenes: what is labelled blurred was blurred by that much, and what is labelled sharp was not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.rendering import scenes as module
from br2focus.models.rendering.optics import BLURRED, IGNORED, IN_FOCUS, Pixels, Values, label
from br2focus.models.rendering.scenes import FOCUSED, Matte, Scene, SceneMix, Scenes
from br2focus.models.rendering.shapes import SHAPES
from br2focus.models.rendering.textures import draw_texture

SIDE = 96
SHARP = SceneMix(sharp=1, blurred=0, ramp=0, rescaled=0)
WHOLLY_BLURRED = SceneMix(sharp=0, blurred=1, ramp=0, rescaled=0)
RAMP = SceneMix(sharp=0, blurred=0, ramp=1, rescaled=0)
LAYERS = SceneMix(sharp=0, blurred=0, ramp=0, rescaled=0)
SEEDS = range(20)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(side: int = SIDE) -> Pixels:
    """Pebbles, without the highlights that the renderer would let bloom."""
    return np.minimum(draw_texture(side, side, rng(0), "pebbles"), 220)


def matte(side: int = 120) -> Matte:
    """A thing that fills the middle."""
    coverage = np.zeros((side, side), np.uint8)
    cv2.circle(coverage, (side // 2, side // 2), side // 3, 255, -1)
    return draw_texture(side, side, rng(1), "gratings"), coverage


def render(mix: SceneMix, seed: int, mattes: tuple[Matte, ...] = ()) -> Scene:
    return Scenes([photo()], mattes, SIDE, mix).render(rng(seed))


def contrast(image: Pixels, where: NDArray[np.bool_]) -> float:
    """Mean strength of the finest detail."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return float(np.abs(cv2.Laplacian(gray, cv2.CV_32F))[where].mean())


def half(monkeypatch: pytest.MonkeyPatch, radius: float) -> None:
    """Every thing covers the left half, and every blur has ``radius``."""

    def draw(side: int, generator: np.random.Generator, kind: str | None = None) -> Values:
        alpha = np.zeros((side, side), np.float32)
        alpha[:, : side // 2] = 1
        return alpha

    monkeypatch.setattr(module, "draw_shape", draw)
    monkeypatch.setattr(Scenes, "_radius", lambda self, generator, smallest: radius)


@pytest.mark.parametrize("mix", [SHARP, WHOLLY_BLURRED, RAMP, LAYERS, SceneMix()])
def test_the_same_generator_renders_the_same_scene(mix: SceneMix) -> None:
    one, again = (render(mix, 3, (matte(),)) for _ in range(2))
    assert (one.image == again.image).all() and (one.label == again.label).all()
    assert any((one.image != render(mix, seed, (matte(),)).image).any() for seed in range(4, 10))
    assert one.image.shape == (SIDE, SIDE, 3) and one.image.dtype == np.uint8
    assert one.label.shape == (SIDE, SIDE) and one.label.dtype == np.uint8


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sharp_scene_is_the_crop_itself(seed: int) -> None:
    scene = render(SHARP, seed)
    assert (scene.label == IN_FOCUS).all()
    assert (scene.image == photo()).all() or (scene.image == photo()[:, ::-1]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_blurred_scene_is_blurred_everywhere(seed: int) -> None:
    scene = render(WHOLLY_BLURRED, seed)
    assert (scene.label == BLURRED).all()
    everywhere = np.ones((SIDE, SIDE), np.bool_)
    assert contrast(scene.image, everywhere) < 0.4 * contrast(photo(), everywhere)


def test_a_ramp_is_ignored_between_sharp_and_blurred() -> None:
    seen = {IN_FOCUS: 0, BLURRED: 0, IGNORED: 0}
    for seed in SEEDS:
        mask = render(RAMP, seed).label.astype(int)
        for across in (mask, mask.T):
            pairs = np.stack([across[:, 1:], across[:, :-1]])
            assert not ((pairs.min(0) == IN_FOCUS) & (pairs.max(0) == BLURRED)).any()
        for kind in seen:
            seen[kind] += int((mask == kind).sum())
    assert min(seen[IN_FOCUS], seen[BLURRED]) > 0.1 * SIDE**2 * len(SEEDS)
    assert 0 < seen[IGNORED] < seen[BLURRED]


def test_a_ramp_is_blurred_where_it_says_so() -> None:
    for seed in SEEDS:
        scene = render(RAMP, seed)
        sharp, blurred = scene.label == IN_FOCUS, scene.label == BLURRED
        if min(sharp.sum(), blurred.sum()) > 800:
            assert contrast(scene.image, sharp) > 1.5 * contrast(scene.image, blurred)


def test_a_ramp_keeps_to_the_largest_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = []

    def spy(radius: Values) -> Pixels:
        largest.append(float(radius.max()))
        return np.zeros(radius.shape, np.uint8)

    monkeypatch.setattr(module, "classes", spy)
    for seed in SEEDS:
        render(SceneMix(sharp=0, blurred=0, ramp=1, radius=0.05), seed)
    assert max(largest) == pytest.approx(0.05 * SIDE, rel=0.2)
    assert max(largest) <= 0.05 * SIDE


@pytest.mark.parametrize("radius", [3.0, 6.0])
def test_layers_are_labelled_by_their_radius(radius: float, monkeypatch: pytest.MonkeyPatch) -> None:
    half(monkeypatch, radius)
    near, middle = 5, SIDE // 2
    kinds = set()
    for seed in range(24):
        scene = render(LAYERS, seed)
        left, right = scene.label[:, : middle - near], scene.label[:, middle + near :]
        assert left.min() == left.max() != IGNORED
        assert right.min() == right.max() != IGNORED
        kinds.add((int(left[0, 0]), int(right[0, 0])))
        if right[0, 0] == IN_FOCUS:
            sharp = photo()[:, middle + 8 :], photo()[:, ::-1][:, middle + 8 :]
            assert any((scene.image[:, middle + 8 :] == picture).all() for picture in sharp)
    assert kinds == {(a, b) for a in (IN_FOCUS, BLURRED) for b in (IN_FOCUS, BLURRED)}


def test_a_sharp_edge_is_labelled_up_to_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    half(monkeypatch, 4.0)
    masks = [render(LAYERS, seed).label for seed in range(24)]
    sharp_before_blurred = [m for m in masks if m[0, 0] == IN_FOCUS and m[0, -1] == BLURRED]
    assert sharp_before_blurred
    assert all((m[:, SIDE // 2 - 1] == IN_FOCUS).all() for m in sharp_before_blurred)
    assert all((m[:, SIDE // 2] == BLURRED).all() for m in sharp_before_blurred)


def test_layers_are_ignored_only_between_the_two_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[tuple[list[Values], list[float]]] = []

    def spy(coverage: list[Values], radii: list[float]) -> Pixels:
        composed.append((coverage, radii))
        return label(coverage, radii)

    monkeypatch.setattr(module, "label", spy)
    masks = [render(LAYERS, seed, (matte(),)).label for seed in SEEDS]
    for mask, (coverage, radii) in zip(masks, composed, strict=True):
        front = np.zeros(mask.shape)  # the radius of what covers most
        for alpha, radius in zip(coverage, radii, strict=True):
            front[alpha > 0.5] = radius
        square = np.ones((9, 9), np.uint8)
        sharp, blurred = ((front == 0).astype(np.uint8), (front > 0).astype(np.uint8))
        both = (cv2.dilate(sharp, square) > 0) & (cv2.dilate(blurred, square) > 0)
        assert both[mask == IGNORED].all()
        decided = mask != IGNORED
        assert ((mask == BLURRED) == (front > 0))[decided].all()
    assert sum((mask == IGNORED).any() for mask in masks) > 5


@pytest.mark.parametrize("kind", [k for k in SHAPES if k not in ("hairs", "panicles", "lettering")])
def test_a_foreground_is_blurred_before_a_sharp_picture(kind: str) -> None:
    scenes = Scenes([photo(192)], (), 192, SceneMix())
    found = [scenes.foreground(rng(seed), kind) for seed in range(8)]
    assert all((s.label == IN_FOCUS).any() for s in found)
    assert sum((s.label == BLURRED).mean() > 0.01 for s in found) >= 5


@pytest.mark.parametrize("kind", dict.fromkeys(FOCUSED))
def test_a_focused_foreground_is_sharp_before_a_blurred_picture(kind: str) -> None:
    scenes = Scenes([photo(192)], (), 192, SceneMix())
    sharper = 0
    for scene in (scenes.focused(rng(seed), kind) for seed in range(8)):
        around = cv2.dilate((scene.label != BLURRED).astype(np.uint8), np.ones((5, 5), np.uint8))
        thing = around > 0  # with its edges
        assert contrast(scene.image, ~thing) < contrast(photo(192), ~thing) / 3
        sharper += contrast(scene.image, thing) > contrast(scene.image, ~thing)
    assert sharper >= 7


def test_a_mix_of_focused_foregrounds_has_no_other_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def spy(self: Scenes, rng: np.random.Generator, kind: str) -> Scene:
        asked.append(kind)
        return Scenes.foreground(self, rng, kind)

    monkeypatch.setattr(Scenes, "focused", spy)
    for seed in range(40):
        render(SceneMix(sharp=0, blurred=0, ramp=0, focused=1, rescaled=0), seed)
    assert len(asked) == 40 and set(asked) == set(FOCUSED)


def test_mattes_appear() -> None:
    changed = [(render(LAYERS, s).image != render(LAYERS, s, (matte(),)).image).any() for s in SEEDS]
    assert sum(changed) > 5


def test_a_large_matte_is_shrunk_without_aliasing(monkeypatch: pytest.MonkeyPatch) -> None:
    side = 800  # stripes of one pixel: gray once they are shrunk, and coarse stripes if they alias
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 255
    scenes = Scenes([photo() * 0], [(stripes, np.full((side, side), 255, np.uint8))], SIDE, LAYERS)
    nothing = np.zeros((SIDE, SIDE, 4), np.float32)
    monkeypatch.setattr(Scenes, "_filled", lambda self, alpha, generator: nothing)
    brightest = [int(scenes.render(rng(seed)).image.max()) for seed in SEEDS]
    assert max(brightest) > 100
    assert max(brightest) < 180


def test_photographs_of_any_size_do() -> None:
    for size in ((30, 50), (SIDE, SIDE), (300, 101)):
        picture = draw_texture(size[1], size[0], rng(0), "bricks")
        for mix in (SHARP, LAYERS):
            scene = Scenes([picture], (), SIDE, mix).render(rng(1))
            assert scene.image.shape == (SIDE, SIDE, 3)


def test_a_rescaled_scene_is_labelled_by_the_blur_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Radii in pixels of the larger picture: shrunk by 1.1 to 1.6, 1.05 is in focus and 2.6 blurred.
    for radius, expected in ((1.05, IN_FOCUS), (2.6, BLURRED)):
        monkeypatch.setattr(Scenes, "_radius", lambda self, generator, smallest, r=radius: r)
        for seed in range(6):
            scene = render(replace(WHOLLY_BLURRED, rescaled=1), seed)
            assert scene.image.shape == (SIDE, SIDE, 3) and scene.label.shape == (SIDE, SIDE)
            assert (scene.label == expected).all()


def test_a_rescaled_scene_is_as_sharp_and_lies_where_its_label_says() -> None:
    everywhere = np.ones((SIDE, SIDE), np.bool_)
    for seed in range(6):
        sharp = render(replace(SHARP, rescaled=1), seed)
        assert (sharp.label == IN_FOCUS).all()
        assert contrast(sharp.image, everywhere) > 0.6 * contrast(photo(), everywhere)
        layers = render(replace(LAYERS, rescaled=1), seed)
        classes = [layers.label == kind for kind in (IN_FOCUS, BLURRED)]
        if min(c.sum() for c in classes) > 800:
            assert contrast(layers.image, classes[0]) > 1.2 * contrast(layers.image, classes[1])


def test_every_kind_has_its_share() -> None:
    scenes = Scenes([photo()], (), SIDE, SceneMix(sharp=0.3, blurred=0.3, ramp=0.0))
    masks = [scenes.render(rng(seed)).label for seed in range(80)]
    both = sum(len(np.unique(mask)) > 1 for mask in masks)
    sharp = sum((mask == IN_FOCUS).all() for mask in masks)
    blurred = sum((mask == BLURRED).all() for mask in masks)
    assert both > 15 and sharp > 20 and blurred > 20
