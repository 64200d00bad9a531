"""Where a picture lies, on tiny numbers; no window."""

from __future__ import annotations

import pytest

from br2focus.plugins.qt.placement import free_name, grown, moved, place, spanned, tapped
from br2focus.realtime.frame import Roi


@pytest.mark.parametrize("area", [(800, 600), (300, 600), (801, 333), (50, 50)])
@pytest.mark.parametrize("picture", [(640, 480), (1920, 1080), (64, 480), (3, 2)])
def test_a_fitted_picture_is_whole_and_touches_two_sides(picture, area):
    found = place(picture, area, None, (0, 0))
    width, height = found.size
    assert width <= area[0] and height <= area[1]
    assert width == area[0] or height == area[1]
    assert found.visible() == (0, 0, *picture)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("centre", [(0, 0), (320, 240), (640, 480), (100.3, 77.7)])
def test_no_border_is_shown_that_can_be_avoided(scale, centre):
    found = place((640, 480), (300, 500), scale, centre)
    for start, length, room in zip((found.left, found.top), found.size, found.area, strict=True):
        if length >= room:
            assert start <= 0 and start + length >= room
        else:
            assert start == (room - length) // 2


def test_points_go_there_and_back():
    found = place((640, 480), (333, 222), 2.0, (200, 100))
    assert found.to_picture(*found.to_device(123.0, 45.0)) == pytest.approx((123.0, 45.0))
    assert found.to_picture(333 / 2, 111) == pytest.approx((200, 100), abs=0.5)


def test_what_is_visible_covers_the_area():
    found = place((640, 480), (100, 60), 3.0, (333, 211))
    x, y, width, height = found.visible()
    left, top = found.to_device(x, y)
    right, bottom = found.to_device(x + width, y + height)
    assert -3 < left <= 0 and -3 < top <= 0
    assert 100 <= right < 103 and 60 <= bottom < 63


def test_regions_stay_in_the_picture():
    size = (640, 480)
    assert spanned((700, 500), (600, -5), size) == Roi("", 600, 0, 40, 480)
    assert spanned((10, 10), (12, 300), size) is None, "too narrow"
    corner = tapped((639, 0), size)
    assert (corner.x + corner.width, corner.y) == (640, 0)
    assert moved(Roi("A", 600, 400, 40, 80), (50, 50), size) == Roi("A", 600, 400, 40, 80)
    assert moved(Roi("A", 0, 0, 40, 80), (-1, 7), size) == Roi("A", 0, 7, 40, 80)
    assert grown(Roi("A", 100, 100, 40, 40), 4, size) == Roi("A", 96, 96, 48, 48)
    assert grown(Roi("A", 100, 100, 10, 10), -4, size).width == 8
    assert grown(Roi("A", 0, 0, 640, 480), 4, size) == Roi("A", 0, 0, 640, 480)


def test_names_are_free():
    rois = tuple(Roi(chr(ord("A") + n), 0, 0, 9, 9) for n in range(26))
    assert free_name(()) == "A" and free_name(rois) == "A1"
    assert free_name(rois[:3] + rois[4:]) == "D"
