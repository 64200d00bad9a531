"""The contact sheets of the documents: titles above, pictures in their places."""

from __future__ import annotations

import numpy as np

from benchmarks.pictures import maps
from br2focus.models.rendering.optics import BLURRED, IGNORED, IN_FOCUS


def test_truth_is_black_white_and_grey() -> None:
    picture = maps.truth(np.array([[IN_FOCUS, BLURRED, IGNORED]], np.uint8))
    assert picture.shape == (1, 3, 3)
    assert picture[0].tolist() == [[0, 0, 0], [255, 255, 255], [128, 128, 128]]


def test_pictures_keep_their_place_and_shape() -> None:
    shades = [[0, 50, 100], [150, 200, 250]]
    rows = [[np.full((20, 40, 3), shade, np.uint8) for shade in row] for row in shades]
    sheet = maps.sheet(["a", "b", "c"], rows, width=80)
    head = len(sheet) - 2 * 40
    assert 10 < head < 30 and sheet.shape[1] == 3 * 80
    assert (sheet[:head] < 128).any(), "the titles"
    middles = sheet[head + 20 :: 40, 40::80, 0]
    assert middles.tolist() == shades
