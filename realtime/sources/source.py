"""The `Source` protocol and the base classes of all sources."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from br2focus.realtime.closing import Closing
from br2focus.realtime.frame import Frame
from br2focus.realtime.video_info import SourceInfo


class Source(Protocol):
    """Iterates `Frame` objects in order; a context manager. `close` may be called from another thread."""

    @property
    def info(self) -> SourceInfo: ...

    @property
    def damaged(self) -> int:
        """Packets rejected or missing so far, plus frames that the decoder reports as corrupt."""

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose timestamp was missing or wrong."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about the source so far, one line each."""

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
    """Base class of sources: context manager that calls ``close``, and defaults without faults."""

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
    """Base class of sources that transform the frames of another source.

    It reports the faults of the other source and closes it.

    Args:
        source: the other source.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def damaged(self) -> int:
        """See `Source`; the value of the wrapped source."""
        return self._source.damaged

    @property
    def repaired_timestamps(self) -> int:
        """See `Source`; the value of the wrapped source."""
        return self._source.repaired_timestamps

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Source`; the value of the wrapped source."""
        return self._source.notices

    def close(self) -> None:
        """End the iteration; may be called from any thread."""
        self._source.close()
