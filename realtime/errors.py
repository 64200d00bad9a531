"""Pipeline errors; each is a `FocusError` and also the matching built-in exception.

The command line maps them to exit codes: settings 2, source 3, lost 4, sink 5, compute 6.
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
    """A setting, option or settings file is invalid."""


class SourceError(FocusError, OSError):
    """An input cannot be read: it is missing, contains no video, is damaged, or exceeds a limit."""


class LostError(SourceError):
    """A live source disappeared and did not come back in time."""


class AbsentError(SourceError):
    """A live source is not available right now; retrying soon is cheap."""


class RefusedError(SourceError):
    """A live source refused access; retrying at once is pointless."""


class SinkError(FocusError, OSError):
    """An output cannot be written because of the disk, permissions or the encoder."""


class ComputeError(FocusError, RuntimeError):
    """The network cannot run: no device, not enough memory, or a non-finite result."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
