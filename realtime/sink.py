"""Where results go: the Sink protocol."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from .frame import FocusResult


class Sink(Protocol):
    """Takes results in order. Leaving the context cleanly closes it, leaving by an exception aborts it."""

    def write(self, result: FocusResult) -> None:
        """Take one result. Raises `SinkError`; after the first error every call raises it again."""

    def close(self) -> None:
        """Complete the output: only now does the final name appear. Raises `SinkError`."""

    def abort(self) -> None:
        """Give up: never raises; nothing appears under the final name."""


class ClosingSink:
    """The context manager half of a sink."""

    def close(self) -> None:
        """Complete the output."""

    def abort(self) -> None:
        """Give up without a final output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is None:
            self.close()
        else:
            self.abort()
