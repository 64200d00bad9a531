"""Scenes at a camera's own pixels: repeatable, and true to what they say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.models.limits import tolerance
from br2focus.models.rendering.camera import PIXEL, soften
from br2focus.models.rendering.codec import compressed
from br2focus.models.rendering.native import NativeMix, NativeScene, NativeScenes, _shrunk
from br2focus.models.rendering.optics import radius_map
from br2focus.models.rendering.shapes import SHAPES, draw_shape
from br2focus.models.rendering.stack import render_stack
from br2focus.models.rendering.textures import draw_picture, draw_texture

RNG = np.random.default_rng(0)
PHOTOS = [draw_picture(200, 160, np.random.default_rng(seed)) for seed in range(3)]
SMOOTH = [draw_texture(160, 160, RNG, "smooth")]
NONE = {"sharp": 0.0, "blurred": 0.0, "ramp": 0.0, "floor": 0.0, "foreground": 0.0, "focused": 0.0}
KINDS = (*NONE, "layers")


def scene(kind: str, seed: int = 0, side: int = 32) -> NativeScene:
    mix = NativeMix(**(NONE | ({} if kind == "layers" else {kind: 1.0})))
    scenes = NativeScenes(PHOTOS, [], SMOOTH, side, 480, mix)
    return scenes.render(np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_repeatable_and_as_large_as_its_frame_asks(kind: str) -> None:
    for seed in range(3):
        one, other = scene(kind, seed), scene(kind, seed)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.radius, other.radius, equal_nan=True)
        assert one.image.dtype == np.uint8 and one.image.shape[0] == one.image.shape[1]
        assert len(one.image) == pytest.approx(32 * one.width / 480, abs=9)
        assert one.radius.shape == (32, 32) and one.softness >= PIXEL
    assert not np.array_equal(scene(kind, 0).image, scene(kind, 1).image)


def test_wholly_sharp_and_wholly_blurred_say_so() -> None:
    for seed in range(4):
        assert not scene("sharp", seed).radius.any()
        blurred = scene("blurred", seed).radius
        assert np.nanmin(blurred) == np.nanmax(blurred) > 0.5


def test_thin_things_in_focus_are_seen_at_the_network_s_size() -> None:
    """A line of two pixels before a blurred background, the frame four times as large as the map."""
    radius = np.full((128, 128), 20, np.float32)
    radius[:, 60:62] = 0
    small = _shrunk(radius, 32, limit=1.0).astype(np.float32)
    assert (small[:, 15] == 0).all() and (small[:, [13, 17]] == 20).all()
    assert not np.isnan(small).any()


def test_a_mixed_pixel_has_no_radius() -> None:
    alpha = np.array([[0.0, 0.5, 1.0]], np.float32)
    found = radius_map([np.ones((1, 3), np.float32), alpha], [8.0, 0.0])
    assert found[0, 0] == 8 and np.isnan(found[0, 1]) and found[0, 2] == 0


def test_softness_adds_up_and_never_sharpens_a_lens() -> None:
    image = PHOTOS[0]
    values = [soften(image, np.random.default_rng(seed)) for seed in range(12)]
    assert all(picture.shape == image.shape for picture, _ in values)
    assert min(s for _, s in values) >= PIXEL and max(s for _, s in values) > 1.0


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("frames", [1, 2, 3])  # x265 gives one and two of them random decoding times
def test_a_codec_keeps_the_picture_and_leaves_its_traces(codec: str, frames: int) -> None:
    image = PHOTOS[0][:, :161]
    found = compressed(image, codec, {"crf": "34"}, (1.0, 0.5), frames)  # type: ignore[arg-type]
    difference = np.abs(found.astype(int) - image)
    assert found.shape == image.shape and 0.5 < difference.mean() < 30
    assert np.array_equal(found[:, 160], image[:, 160])


@pytest.mark.parametrize(("codec", "preset"), [("libx264", "veryfast"), ("libx265", "ultrafast")])
def test_a_codec_gives_the_same_bits_whatever_the_memory_held(codec: str, preset: str) -> None:
    image, junk = np.ascontiguousarray(PHOTOS[0][:130, :200]), []
    found = set()
    for repeat in range(16):  # with x264's macroblock tree about one in four differed
        junk.append(np.full(1000 + 37777 * repeat, repeat, np.uint8))
        options = {"crf": "28", "preset": preset}
        picture = compressed(image, codec, options, (1.3, -0.7), 4)  # type: ignore[arg-type]
        found.add(picture.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["hairs", "panicles", "lettering"])
def test_new_shapes_are_thin(kind: str) -> None:
    shares = [draw_shape(128, np.random.default_rng(seed), kind).mean() for seed in range(6)]
    assert kind in SHAPES and max(shares) < 0.5 and np.median(shares) > 0.001


def test_a_stack_is_sharpest_where_it_says() -> None:
    stack = render_stack(3, width=256, height=192, slices=4, step=2.0)
    assert len(stack.slices) == 4 and len(stack.best) == 48
    assert set(stack.best) <= set(range(4))


def test_the_tolerance_hides_in_soft_footage() -> None:
    soft = next(s for s in (scene("sharp", seed) for seed in range(40)) if s.softness > 2)
    assert tolerance(soft.width, soft.softness) > tolerance(soft.width, PIXEL)
