"""Errors of the pipeline; each is a `FocusError` and the fitting built-in.

The command line turns them into exit codes: settings 2, source 3, sink 5, compute 6.
"""

from br2focus.models.errors import FocusError

__all__ = ["ComputeError", "FocusError", "SettingsError", "SinkError", "SourceError"]


class SettingsError(FocusError, ValueError):
    """A setting, option or settings file is wrong."""


class SourceError(FocusError, OSError):
    """An input cannot be read: missing, no video in it, damaged, or over a limit."""


class SinkError(FocusError, OSError):
    """An output cannot be written: disk, permission, or encoder."""


class ComputeError(FocusError, RuntimeError):
    """The network cannot run: no device, no memory, or a result that is not finite."""
