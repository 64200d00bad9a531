"""The command ``bench``: measures speed, dropped frames, age and memory on this machine."""

from .main import command

__all__ = ["command"]
