"""Exit codes, the line on stderr that goes with each, and the options ``--json`` and ``--debug``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

import click

from br2focus.models.errors import CheckpointError, FocusError
from br2focus.realtime.errors import (
    ComputeError,
    LostError,
    RefusedError,
    SettingsError,
    SinkError,
    SourceError,
)

F = TypeVar("F", bound=Callable[..., Any])


class Exit(IntEnum):
    """Exit codes of the process."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INPUT = 3
    LOST = 4
    OUTPUT = 5
    COMPUTE = 6
    ITEMS = 7
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """A second SIGTERM came: stop at once."""


CODES: list[tuple[type[BaseException], Exit]] = [
    (SettingsError, Exit.USAGE),
    (click.ClickException, Exit.USAGE),
    (LostError, Exit.LOST),
    (RefusedError, Exit.LOST),
    (SourceError, Exit.INPUT),
    (SinkError, Exit.OUTPUT),
    (ComputeError, Exit.COMPUTE),
    (CheckpointError, Exit.COMPUTE),
    (Terminated, Exit.TERMINATED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (click.Abort, Exit.INTERRUPTED),
]


def code_of(error: BaseException) -> Exit:
    """Return the exit code for ``error``."""
    return next((code for kind, code in CODES if isinstance(error, kind)), Exit.BUG)


def line_of(error: BaseException) -> str:
    """Return the text of ``error`` as one line."""
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split())
    if isinstance(error, FocusError):
        return " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted"
    text = " ".join(str(error).split())
    return f"a bug in br2focus: {type(error).__name__}: {text} (--debug shows where)"


def say(text: str) -> None:
    """Write one line to stderr, where everything goes except results."""
    print(f"br2focus: {text}", file=sys.stderr)


def report(error: BaseException, *, debug: bool) -> int:
    """Write one line about ``error`` to stderr, with ``debug`` also its traceback; return the exit code."""
    if isinstance(error, click.Abort) and isinstance(error.__cause__, KeyboardInterrupt):
        error = error.__cause__  # click's Abort does not tell which signal it was
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Exit.BUG
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return Exit.USAGE
    if debug:
        traceback.print_exception(error)
    say(line_of(error))
    return code_of(error)


def report_options(command: F) -> F:
    """Add ``--json`` and ``--debug`` to a command."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
    ):
        command = option(command)
    return command
