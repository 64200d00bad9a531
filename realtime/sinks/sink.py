"""Where results go: the Sink protocol, and what every sink that writes files shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

from br2focus.models.errors import FocusError
from br2focus.realtime.frame import Image
from br2focus.realtime.output import Output, refusal
from br2focus.realtime.result import FocusResult

Render = Callable[[FocusResult], Image]


def picture_of(result: FocusResult) -> Image:
    """The picture that was drawn of ``result``, or its frame where none was."""
    return result.frame.image if result.drawn is None else result.drawn


class Sink(Protocol):
    """Takes results in order. Leaving the context cleanly closes it, leaving by an exception aborts it."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know about the output, a line each."""

    def write(self, result: FocusResult) -> None:
        """Take one result. Raises `SinkError`; after the first error every call raises it again."""

    def close(self) -> None:
        """Complete the output: only now does the final name appear. Raises `SinkError`."""

    def abort(self) -> None:
        """Give up: never raises; nothing appears under the final name."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ClosingSink:
    """The context manager half of a sink."""

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Sink`."""
        return ()

    def close(self) -> None:
        """Complete the output."""

    def abort(self) -> None:
        """Give up without a final output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


class FileSink(ClosingSink):
    """The half of a sink that writes an `Output`: the first error is kept and raised again.

    A sink fills in `_write`, `_finish` and, where it holds something open, `_cancel`.

    Args:
        output: where it goes.

    Attributes:
        FAILURES: exceptions that mean "cannot be written" and become a `SinkError`; others pass as they are.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def __init__(self, output: Output) -> None:
        self._output = output
        self._error: Exception | None = None
        self._ended = False

    @property
    def path(self) -> Path:
        """The final name."""
        return self._output.path

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the output, one line each."""
        return ()

    @property
    def kept(self) -> Path | None:
        """The incomplete but usable file that `abort` left, if any."""
        return None

    def write(self, result: FocusResult) -> None:
        """Take one result.

        Raises:
            SinkError: it cannot be written; every later call raises the same.
            ValueError: the sink is closed.
        """
        with self._writing():
            self._write(result)

    def close(self) -> None:
        """Complete the output; a second call does nothing.

        Raises:
            SinkError: it could not be completed, or an earlier write had failed.
        """
        if self._ended and self._error is None:
            return
        try:
            with self._first_error():
                self._finish()
        except BaseException:
            self.abort()
            raise
        self._ended = True

    def abort(self) -> None:
        """Give up; never raises."""
        if not self._ended:
            self._ended = True
            with suppress(Exception):
                self._cancel()

    def _write(self, result: FocusResult) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Complete the contents and commit the output."""
        self._output.commit()

    def _cancel(self) -> None:
        """Let go of everything after a failure."""
        self._output.discard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._ended and self._error is None:
            raise ValueError(f"{self.path}: write after close")
        with self._first_error():
            yield

    @contextmanager
    def _first_error(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error
        try:
            yield
        except FocusError as error:
            self._error = error
            raise
        except self.FAILURES as error:
            self._error = refusal(self.path, error)
            raise self._error from error
        except Exception as error:
            self._error = error
            raise
