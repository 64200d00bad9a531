"""The size at which a picture goes through the network, and the regions that it is judged in."""

from __future__ import annotations

GRID = 32  # the deepest tap's stride: sides that it divides keep all taps aligned
COLUMNS, ROWS = 8, 6  # regions of a picture


def network_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Width and height at which a picture of ``size`` (width, height) goes through the network.

    The longer side becomes ``long_side`` and both become multiples of 32. A smaller picture is not
    enlarged: enlarging looks like blur.
    """
    scale = min(1.0, long_side / max(size))
    width, height = (max(GRID, round(side * scale / GRID) * GRID) for side in size)
    return width, height


def regions(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of `COLUMNS` x `ROWS` regions, row by row."""
    xs = [round(width * i / COLUMNS) for i in range(COLUMNS + 1)]
    ys = [round(height * j / ROWS) for j in range(ROWS + 1)]
    return [(xs[i], ys[j], xs[i + 1] - xs[i], ys[j + 1] - ys[j]) for j in range(ROWS) for i in range(COLUMNS)]
