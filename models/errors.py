"""Base classes of the errors that this program raises on purpose."""


class FocusError(Exception):
    """Base class of errors whose text is one line for the user: what, where, what to do."""


class CheckpointError(FocusError, ValueError):
    """A checkpoint is missing, damaged, or does not match the network in its header."""
