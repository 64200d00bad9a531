"""Pictures in bands of rows: what is in between stays in the cache, and needs no fresh memory."""

from __future__ import annotations

from collections.abc import Callable

BAND = 128  # rows, even; pieces of 256 rows of a frame are fresh memory in every call, at twice the time


def in_bands(height: int, job: Callable[[slice], object]) -> None:
    """Call ``job`` with every band of ``height`` rows."""
    for top in range(0, height, BAND):
        job(slice(top, min(top + BAND, height)))
