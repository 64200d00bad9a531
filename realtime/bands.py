"""Processing in bands of rows, which keeps intermediates in the cache and avoids fresh allocations."""

from __future__ import annotations

from collections.abc import Callable

# Rows; even. With bands of 256 rows of a frame, every call allocates fresh memory and takes twice as long.
BAND = 128


def in_bands(height: int, job: Callable[[slice], object]) -> None:
    """Call ``job`` with each band of ``height`` rows."""
    for top in range(0, height, BAND):
        job(slice(top, min(top + BAND, height)))
