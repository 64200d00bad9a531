"""The root of every error that this program raises on purpose."""


class FocusError(Exception):
    """Root of the errors whose text is one line for the user: what, where, what to do."""


class CheckpointError(FocusError, ValueError):
    """A checkpoint is missing, damaged, or not of the network that its header names."""
