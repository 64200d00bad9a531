"""The amount of work given to a GPU at once, and how to reduce it when memory is short."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2

# Raised by libraries when their device or memory fails; anything else is a bug.
FAULTS = (RuntimeError, MemoryError, cv2.error)
BATCH = 8  # images per GPU batch when nobody waits for a single one
SLOTS = 3  # batches in flight: one uploading, one computing, one downloading
PINNED_BYTES = 1 << 29  # image memory of all slots; pinned, so the system cannot swap it
SMALLEST_SIDE = 160  # of a map, in pixels
# Wording in CUDA, PyTorch and the C++ standard library.
NO_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "insufficient memory",
    "bad_alloc",
)


@dataclass(frozen=True)
class Load:
    """The amount of work given to a GPU at once.

    Attributes:
        batch: images per batch.
        share: share of the requested long side of the map.
    """

    batch: int = 1
    share: float = 1.0

    def side(self, asked: int) -> int:
        """Return the long side of the map in pixels."""
        return asked if self.share == 1 else max(SMALLEST_SIDE, round(asked * self.share))

    def less(self, asked: int, most: int) -> Load | None:
        """Return the next smaller load, or None if there is none.

        First the batch (of at most ``most``) is halved, then the map is reduced to three quarters.
        """
        batch = min(self.batch, most)
        if batch > 1:
            return replace(self, batch=batch // 2)
        smaller = replace(self, share=self.share * 0.75)
        return smaller if smaller.side(asked) < self.side(asked) else None

    def smaller_than(self, before: Load, asked: int) -> str:
        """Describe the reduction for the user."""
        if self.share < before.share:
            return f"maps of {self.side(asked)} pixels"
        return f"{self.batch} pictures at once" if self.batch > 1 else "one picture at a time"


def is_short_of_memory(error: BaseException | None) -> bool:
    """Return whether ``error``, or its cause, reports that GPU or system memory is exhausted."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def full_batch(frame_size: tuple[int, int]) -> int:
    """Return the batch size for images of ``frame_size``, a power of two up to `BATCH`."""
    batch, bytes_each = BATCH, 3 * frame_size[0] * frame_size[1]
    while batch > 1 and SLOTS * batch * bytes_each > PINNED_BYTES:
        batch //= 2
    return batch
