"""The `Sink` protocol and the base classes of all sinks that write files."""

from __future__ import annotations

from abc import abstractmethod
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
    """Return the picture that the pipeline drew.

    Raises:
        ValueError: it drew none.
    """
    if result.drawn is None:
        raise ValueError("nothing was drawn: write result.overlay(...), or give the pipeline a `draw`")
    return result.drawn


class Sink(Protocol):
    """Where results go. Subclass it with ``write``; the rest has defaults, which do nothing.

    It is a context manager: a clean exit calls ``close``, an exception calls ``abort``.
    """

    @abstractmethod
    def write(self, result: FocusResult) -> None:
        """Write one result; results come in order.

        Raises:
            SinkError: if it cannot be written.
        """
        ...

    def close(self) -> None:
        """Complete the output, which only now appears under its final name.

        Raises:
            SinkError: if the output cannot be completed.
        """
        return

    def abort(self) -> None:
        """Abandon the output, so that nothing appears under the final name; never raises.

        It may follow an error of ``write`` or ``close``.
        """
        return

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about the output, one line each."""
        return ()

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


class FileSink(Sink):
    """Base class of sinks that write an `Output`; stores the first error and raises it again.

    Subclasses implement `_write` and, if they hold resources, override `_finish` and `_cancel`.

    Args:
        output: the output to write to.

    Attributes:
        FAILURES: exceptions that mean "cannot be written" and are converted to a `SinkError`; others
            propagate unchanged.
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
        """Messages for the user about the output, one line each."""
        return ()

    @property
    def kept(self) -> Path | None:
        """The incomplete but usable file that `abort` left behind, or None."""
        return None

    def write(self, result: FocusResult) -> None:
        """Write one result.

        Raises:
            SinkError: it cannot be written; every later call raises the same error.
            ValueError: the sink is closed.
        """
        with self._writing():
            self._write(result)

    def close(self) -> None:
        """Complete the output; a second call does nothing.

        Raises:
            SinkError: the output cannot be completed, or an earlier write failed.
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
        """Abandon the output; never raises."""
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
        """Release all resources after a failure."""
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
