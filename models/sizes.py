"""The size at which a picture goes through the network."""

from __future__ import annotations

GRID = 32  # the deepest tap's stride: sides that it divides keep all taps aligned


def network_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Width and height at which a picture of ``size`` (width, height) goes through the network.

    The longer side becomes ``long_side`` and both become multiples of 32. A smaller picture is not
    enlarged: enlarging looks like blur.
    """
    scale = min(1.0, long_side / max(size))
    width, height = (max(GRID, round(side * scale / GRID) * GRID) for side in size)
    return width, height
