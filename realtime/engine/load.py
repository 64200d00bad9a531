"""How much a GPU is asked to do at once, and what less can be asked of one whose memory is short."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2

# What a library raises when its device or its memory fails; anything else is a bug.
FAULTS = (RuntimeError, MemoryError, cv2.error)
BATCH = 8  # pictures that a GPU computes at once where nobody waits for a single one
SLOTS = 3  # batches in flight: one is uploaded, one computed, one downloaded
PINNED_BYTES = 1 << 29  # of pictures in all slots: memory that the system cannot swap
SMALLEST_SIDE = 160  # of a map
# How CUDA, PyTorch and the C++ library say it.
NO_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "insufficient memory",
    "bad_alloc",
)


@dataclass(frozen=True)
class Load:
    """What a GPU is asked for.

    Attributes:
        batch: pictures computed at once.
        share: of the long side of the map that was asked for.
    """

    batch: int = 1
    share: float = 1.0

    def side(self, asked: int) -> int:
        """Long side of the map in pixels."""
        return asked if self.share == 1 else max(SMALLEST_SIDE, round(asked * self.share))

    def less(self, asked: int, most: int) -> Load | None:
        """The next smaller load: half the batch (of at most ``most``), then three quarters of the map.

        None where there is none.
        """
        batch = min(self.batch, most)
        if batch > 1:
            return replace(self, batch=batch // 2)
        smaller = replace(self, share=self.share * 0.75)
        return smaller if smaller.side(asked) < self.side(asked) else None

    def smaller_than(self, before: Load, asked: int) -> str:
        """What became less, for the user."""
        if self.share < before.share:
            return f"maps of {self.side(asked)} pixels"
        return f"{self.batch} pictures at once" if self.batch > 1 else "one picture at a time"


def is_short_of_memory(error: BaseException | None) -> bool:
    """Whether ``error``, or one that it hides, says that memory is full, a GPU's or the computer's."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def full_batch(frame_size: tuple[int, int]) -> int:
    """Pictures of ``frame_size`` that a batch holds at most, a power of two up to `BATCH`."""
    batch, bytes_each = BATCH, 3 * frame_size[0] * frame_size[1]
    while batch > 1 and SLOTS * batch * bytes_each > PINNED_BYTES:
        batch //= 2
    return batch
