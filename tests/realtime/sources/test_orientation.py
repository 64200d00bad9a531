"""Display matrices, against pictures small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.realtime.sources.orientation import Orientation

ONE = 65536
STORED = [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((ONE, 0, 0, 0, ONE, 0), [[1, 2, 3], [4, 5, 6]]),
        ((0, ONE, 0, -ONE, 0, 0), [[4, 1], [5, 2], [6, 3]]),  # a quarter clockwise: phones
        ((-ONE, 0, 0, 0, -ONE, 0), [[6, 5, 4], [3, 2, 1]]),
        ((0, -ONE, 0, ONE, 0, 0), [[3, 6], [2, 5], [1, 4]]),
        ((-ONE, 0, 0, 0, ONE, 0), [[3, 2, 1], [6, 5, 4]]),  # mirrored
        ((0, ONE, 0, ONE, 0, 0), [[1, 4], [2, 5], [3, 6]]),  # turned and mirrored
        ((2 * ONE, 3, 0, -3, 2 * ONE, 0), [[1, 2, 3], [4, 5, 6]]),  # scaled, with rounding
    ],
)
def test_matrix(matrix: tuple[int, ...], upright: list[list[int]]) -> None:
    image = np.repeat(np.array(STORED, np.uint8)[..., None], 3, axis=2)
    orientation = Orientation.from_matrix([*matrix, 0, 0, 1 << 30])
    turned = orientation.apply(image)
    assert turned[..., 0].tolist() == upright
    assert orientation.size((3, 2)) == (turned.shape[1], turned.shape[0])


@pytest.mark.parametrize("matrix", [(0,) * 9, (ONE, ONE, 0, -ONE, ONE, 0), (ONE, 0, 0, 0, 0, 0)])
def test_what_is_no_quarter_turn_is_refused(matrix: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 90"):
        Orientation.from_matrix(matrix)
