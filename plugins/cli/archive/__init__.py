"""The command ``archive``: annotates thousands of files in a run that can be resumed."""

from .main import command

__all__ = ["command"]
