"""Errors of the pipeline; each is a `FocusError` and the fitting built-in.

The command line turns them into exit codes: settings 2, source 3, lost 4, sink 5, compute 6.
"""

from br2focus.models.errors import FocusError

__all__ = [
    "AbsentError",
    "ComputeError",
    "FocusError",
    "LostError",
    "RefusedError",
    "SettingsError",
    "SinkError",
    "SourceError",
    "first_line",
]


class SettingsError(FocusError, ValueError):
    """A setting, option or settings file is wrong."""


class SourceError(FocusError, OSError):
    """An input cannot be read: missing, no video in it, damaged, or over a limit."""


class LostError(SourceError):
    """A live source is gone and did not come back in time."""


class AbsentError(SourceError):
    """A live source is not there now: asking again soon costs nobody anything."""


class RefusedError(SourceError):
    """A live source does not let us in: trying again at once is of no use."""


class SinkError(FocusError, OSError):
    """An output cannot be written: disk, permission, or encoder."""


class ComputeError(FocusError, RuntimeError):
    """The network cannot run: no device, no memory, or a result that is not finite."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
