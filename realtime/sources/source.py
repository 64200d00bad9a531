"""The `Source` protocol, and the base class of sources that wrap another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

from br2focus.realtime.closing import Closing
from br2focus.realtime.frame import Frame
from br2focus.realtime.video_info import SourceInfo


class Source(Closing, Protocol):
    """Where frames come from. Subclass it with ``info``, ``__iter__`` and ``close``; the rest has defaults.

    It is a context manager that calls ``close``.

    Attributes:
        info: what is known before the first frame: ``name``, ``size``, ``rate``, and ``live``, for a source
            whose old frames are dropped in a pipeline.
    """

    info: SourceInfo

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order, upright, with their times.

        Raises:
            SourceError: if the input cannot be read.
        """
        ...

    def close(self) -> None:
        """End the iteration and release everything; may be called twice, and from another thread."""
        return

    @property
    def damaged(self) -> int:
        """Packets rejected or missing so far, plus frames that the decoder reports as corrupt."""
        return 0

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose timestamp was missing or wrong."""
        return 0

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about the source so far, one line each."""
        return ()


class WrappedSource(Source):
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
