"""Where frames come from: the Source protocol and `Frames`, the source over any iterable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from br2focus.realtime.closing import Closing
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.video_info import SourceInfo


class Source(Protocol):
    """Iterates `Frame` objects in order; a context manager; `close` may come from another thread."""

    @property
    def info(self) -> SourceInfo: ...

    @property
    def damaged(self) -> int:
        """Packets that were refused or missing, and frames that the decoder calls corrupt, so far."""

    @property
    def repaired_timestamps(self) -> int:
        """Frames whose time was missing or wrong, so far."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know about it, a line each, so far."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ClosingSource(Closing):
    """Base of sources: a context manager that calls ``close``, and a source without faults to report."""

    @property
    def damaged(self) -> int:
        """See `Source`."""
        return 0

    @property
    def repaired_timestamps(self) -> int:
        """See `Source`."""
        return 0

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Source`."""
        return ()


class WrappedSource(ClosingSource):
    """Base of sources that change the frames of another one: its faults are theirs, and it is closed too.

    Args:
        source: the other one.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def damaged(self) -> int:
        """Of the other source."""
        return self._source.damaged

    @property
    def repaired_timestamps(self) -> int:
        """Of the other source."""
        return self._source.repaired_timestamps

    @property
    def notices(self) -> tuple[str, ...]:
        """Of the other source."""
        return self._source.notices

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._source.close()


class Frames(ClosingSource):
    """A source over any iterable of uint8 BGR images H x W x 3.

    Args:
        images: the pictures; each is copied, so the caller may reuse its buffer.
        rate: frames a second, for the times given to the frames.
        live: behave as a camera does (old frames are replaced, not queued).

    Raises:
        SourceError: while iterating, an item is not such an image.
    """

    def __init__(self, images: Iterable[Image], rate: Fraction = Fraction(30), *, live: bool = False) -> None:
        self._images = images
        self.info = SourceInfo(name="frames", rate=rate, live=live)

    def __iter__(self) -> Iterator[Frame]:
        time_base = 1 / Fraction(self.info.rate or 30)
        for index, image in enumerate(self._images):
            try:
                copy = np.array(image, order="C")
                frame = Frame(copy, index, index, time_base, time.monotonic())
            except ValueError as error:
                raise SourceError(f"frame {index}: {error}") from error
            yield frame
