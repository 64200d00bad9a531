"""The command ``bench``: speed, drops, age and memory on this machine."""

from .main import command

__all__ = ["command"]
