"""The protocol of sources, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from br2focus.realtime.closing import Closing
from br2focus.realtime.frame import Frame
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
