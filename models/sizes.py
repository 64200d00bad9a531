"""The size at which a picture goes through the network, and the regions in which it is scored."""

from __future__ import annotations

GRID = 32  # stride of the deepest tap: sides that are multiples of it keep all taps aligned
COLUMNS, ROWS = 8, 6  # regions across and down a picture


def network_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return width and height at which a picture of ``size`` (width, height) goes through the network.

    The longer side becomes ``long_side``, and both sides become multiples of 32. A smaller picture is not
    enlarged, because enlarging looks like blur.
    """
    scale = min(1.0, long_side / max(size))
    width, height = (max(GRID, round(side * scale / GRID) * GRID) for side in size)
    return width, height


def regions(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return x, y, width, height of `COLUMNS` x `ROWS` regions, row by row."""
    xs = [round(width * i / COLUMNS) for i in range(COLUMNS + 1)]
    ys = [round(height * j / ROWS) for j in range(ROWS + 1)]
    return [(xs[i], ys[j], xs[i + 1] - xs[i], ys[j + 1] - ys[j]) for j in range(ROWS) for i in range(COLUMNS)]
