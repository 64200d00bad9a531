"""The optics: how large the disk is, what it keeps, and who bleeds over whom."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.models.rendering.optics import (
    BLURRED,
    IGNORED,
    IN_FOCUS,
    BlurStack,
    Lens,
    Values,
    blur,
    classes,
    disk_kernel,
    label,
    over,
    polygon_kernel,
    premultiply,
    to_linear,
    to_srgb,
)

LENS = Lens(focal_length=0.05, f_number=2.0, sensor_width=0.036)
SHADES = np.arange(256, dtype=np.uint8)


def flat(value: float, size: int = 65) -> Values:
    return np.full((size, size, 3), value, np.float32)


def half_covered(value: float) -> Values:
    """A layer of one colour that covers the left half (columns 0 to 31), premultiplied."""
    alpha = np.zeros((65, 65), np.float32)
    alpha[:, :32] = 1
    return premultiply(flat(value), alpha)


class TestLens:
    def test_no_circle_in_the_plane_of_focus(self) -> None:
        assert LENS.coc_radius(2.0, 2.0, 960) == 0

    def test_known_value(self) -> None:
        # A = 25 mm; |4 - 2| / 4 * 50 / (2000 - 50) * 25 mm = 0.32051 mm across, of 36 mm, at 960 px
        assert LENS.coc_radius(4.0, 2.0, 960) == pytest.approx(0.32051 / 36 * 960 / 2, rel=1e-4)

    def test_grows_away_from_the_focus_on_both_sides(self) -> None:
        near = LENS.coc_radius(np.array([1.9, 1.5, 1.0, 0.5]), 2.0, 960)
        far = LENS.coc_radius(np.array([2.1, 3.0, 10.0, 1e6]), 2.0, 960)
        assert (np.diff(near) > 0).all()
        assert (np.diff(far) > 0).all()

    def test_half_the_aperture_halves_it(self) -> None:
        slow = Lens(focal_length=0.05, f_number=4.0)
        assert LENS.coc_radius(5.0, 1.0, 960) == pytest.approx(2 * slow.coc_radius(5.0, 1.0, 960))

    @pytest.mark.parametrize(("depth", "focus"), [(1.0, 0.05), (0.0, 1.0), (-1.0, 1.0)])
    def test_impossible_distances(self, depth: float, focus: float) -> None:
        with pytest.raises(ValueError, match="focuses beyond its focal length"):
            LENS.coc_radius(depth, focus, 960)


class TestLight:
    def test_all_shades_come_back(self) -> None:
        assert (to_srgb(to_linear(SHADES)) == SHADES).all()

    def test_mid_gray_is_a_fifth_of_the_light(self) -> None:
        assert to_linear(np.array([127], np.uint8)) == pytest.approx(0.2122, abs=1e-3)

    def test_too_much_light_clips(self) -> None:
        assert to_srgb(np.array([-1, 7], np.float32)).tolist() == [0, 255]


class TestBlur:
    @pytest.mark.parametrize("radius", [0.0, 0.5, 0.7, 1.0, 2.3, 9.5, 20.0])
    def test_keeps_the_light(self, radius: float) -> None:
        light = np.zeros((65, 65), np.float32)
        light[32, 32] = 7.0
        assert blur(light, radius).sum() == pytest.approx(7.0, rel=1e-4)

    @pytest.mark.parametrize("radius", [1.0, 3.5, 12.0])
    def test_is_a_disk_of_that_radius(self, radius: float) -> None:
        kernel = disk_kernel(radius)
        assert kernel.shape[0] % 2 == 1
        assert kernel == pytest.approx(kernel.T)
        # All its cells but the rim are equal, so the largest is 1 / area.
        assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.04)

    @pytest.mark.parametrize("radius", [0.8, 3.0, 9.5])
    @pytest.mark.parametrize("blades", [0, 5, 8])
    def test_a_spot_keeps_its_light_and_its_place(self, radius: float, blades: int) -> None:
        light = np.zeros((65, 65), np.float32)
        light[30, 35] = 7.0
        kernel = polygon_kernel(radius, blades, 0.4) if blades else None
        spot = blur(light, radius, kernel)
        places = np.arange(65)
        assert spot.sum() == pytest.approx(7.0, rel=1e-4)
        assert (spot.sum(1) @ places / 7, spot.sum(0) @ places / 7) == pytest.approx((30, 35), abs=0.03)

    def test_nothing_at_no_radius(self) -> None:
        light = np.random.default_rng(0).random((9, 9), np.float32)
        assert (blur(light, 0) == light).all()

    def test_stack_agrees_with_the_blur(self) -> None:
        light = np.random.default_rng(0).random((64, 64, 3), np.float32)
        stack = BlurStack(light, 12)
        for radius in (0.0, 0.5, 1.5, *stack.radii[-3:]):
            assert stack.at(radius) == pytest.approx(blur(light, radius), abs=1e-6)
        assert np.abs(stack.at(7.0) - blur(light, 7.0)).mean() < 0.01

    def test_rows_of_a_stack_agree_with_the_whole(self) -> None:
        light = np.random.default_rng(0).random((16, 16, 3), np.float32)
        stack = BlurStack(light, 8)
        radii = np.linspace(0, 8, 16).astype(np.float32)
        rows = stack.at_rows(radii)
        for y, radius in enumerate(radii):
            assert rows[y] == pytest.approx(stack.at(float(radius))[y], abs=1e-6)

    def test_every_pixel_of_a_stack_agrees_with_the_whole_and_the_rows(self) -> None:
        light = np.random.default_rng(0).random((16, 12, 3), np.float32)
        stack = BlurStack(light, 8)
        for radius in (0.0, 0.7, 2.0, 5.3, 8.0, 99.0):
            everywhere = stack.at_pixels(np.full((16, 12), radius, np.float32))
            assert everywhere == pytest.approx(stack.at(radius), abs=1e-6)
        radii = np.linspace(0, 8, 16).astype(np.float32)
        pixels = stack.at_pixels(np.repeat(radii[:, None], 12, axis=1))
        assert pixels == pytest.approx(stack.at_rows(radii), abs=1e-6)

    def test_more_radius_leaves_less_contrast(self) -> None:
        stack = BlurStack(np.random.default_rng(0).random((64, 64), np.float32), 12)
        contrast = [float(stack.at(radius).std()) for radius in np.linspace(0.5, 12, 24)]
        assert (np.diff(contrast) < 0).all()


class TestPolygonKernel:
    @pytest.mark.parametrize("blades", [5, 6, 7, 8])
    @pytest.mark.parametrize("radius", [1.0, 1.8, 4.3, 11.5])
    def test_sums_to_one_and_is_centred(self, radius: float, blades: int) -> None:
        for turn in np.linspace(0, np.pi, 13):
            kernel = polygon_kernel(radius, blades, float(turn))
            places = np.arange(len(kernel)) - len(kernel) // 2
            assert len(kernel) % 2 == 1
            assert kernel.sum() == pytest.approx(1, abs=1e-5)
            centre = (float(kernel.sum(0) @ places), float(kernel.sum(1) @ places))
            assert centre == pytest.approx((0, 0), abs=0.025 if radius < 2 else 0.01)

    @pytest.mark.parametrize("blades", [3, 4, 6])
    def test_covers_the_area_of_the_polygon(self, blades: int) -> None:
        area = blades / 2 * np.sin(2 * np.pi / blades) * 12.0**2
        assert 1 / polygon_kernel(12.0, blades, 0.3).max() == pytest.approx(area, rel=0.005)

    def test_turns(self) -> None:
        square, upright = polygon_kernel(8, 4), polygon_kernel(8, 4, np.pi / 4)
        assert square[0, 8] > 0 and upright[0, 8] == 0, "a corner, and then an edge, on top"

    def test_many_blades_are_a_disk(self) -> None:
        assert polygon_kernel(7.0, 60) == pytest.approx(disk_kernel(7.0), abs=3e-4)

    def test_nothing_within_a_pixel(self) -> None:
        assert polygon_kernel(0.4, 6).tolist() == [[1]]


class TestLayers:
    def test_blurred_foreground_bleeds_over_the_background(self) -> None:
        picture = over(blur(half_covered(1.0), 8), flat(0.0))
        assert picture[32, 20, 0] == pytest.approx(1)  # deep inside the foreground
        assert 0.1 < picture[32, 36, 0] < 0.5  # beside it, over the background
        assert picture[32, 30, 0] < 1  # and the background shows through its rim

    def test_blurred_background_does_not_bleed_over_the_foreground(self) -> None:
        bright = flat(0.0)
        bright[:, 32:] = 1  # right behind the foreground's edge
        picture = over(half_covered(0.25), blur(bright, 8))
        assert (picture[:, :32] == 0.25).all()
        assert picture[32, 33, 0] < 0.7  # it is blurred all the same

    def test_uncovered_places_show_the_background(self) -> None:
        back = np.random.default_rng(0).random((65, 65, 3), np.float32)
        assert (over(half_covered(1.0), back)[:, 32:] == back[:, 32:]).all()


class TestLabel:
    def test_follows_the_circle_of_confusion(self) -> None:
        depth = np.geomspace(0.5, 50, 200).astype(np.float32)[None]
        radius = LENS.coc_radius(depth, 2.0, 480)
        mask = label([np.ones_like(depth)], [radius])
        assert (mask == classes(radius)).all()
        assert (mask[radius <= 1.0] == IN_FOCUS).all()
        assert (mask[radius >= 1.5] == BLURRED).all()
        assert (mask[(radius > 1.0) & (radius < 1.5)] == IGNORED).all()
        assert {IN_FOCUS, BLURRED, IGNORED} == set(mask.ravel().tolist())

    def test_takes_the_front_layer(self) -> None:
        alpha = half_covered(1.0)[:, :, 3]
        mask = label([np.ones_like(alpha), alpha], [5.0, 0.0])
        assert (mask[:, :32] == IN_FOCUS).all()
        assert (mask[:, 32:] == BLURRED).all()

    def test_ignores_an_edge_that_bleeds(self) -> None:
        alpha = blur(half_covered(1.0), 6.0)[:, :, 3]
        mask = label([np.ones_like(alpha), alpha], [0.0, 6.0])
        assert (mask[:, :27] == BLURRED).all()
        assert (mask[:, 28:36] == IGNORED).all()
        assert (mask[:, 37:] == IN_FOCUS).all()

    def test_ignores_no_edge_between_two_of_a_class(self) -> None:
        alpha = blur(half_covered(1.0), 6.0)[:, :, 3]
        assert (label([np.ones_like(alpha), alpha], [3.0, 6.0]) == BLURRED).all()
        alpha = blur(half_covered(1.0), 2.0)[:, :, 3]
        assert (label([np.ones_like(alpha), alpha], [0.0, 0.9]) == IN_FOCUS).all()

    def test_what_stands_before_an_edge_hides_it(self) -> None:
        alpha = blur(half_covered(1.0), 6.0)[:, :, 3]
        front = np.zeros_like(alpha)
        front[:, 30:] = 1  # sharp, and its own edge lies where the other one bleeds
        mask = label([np.ones_like(alpha), alpha, front], [0.0, 6.0, 0.0])
        assert (mask[:, 30:] == IN_FOCUS).all()
        assert (mask[:, :26] == BLURRED).all()
