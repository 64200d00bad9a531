"""Fewer frames of a source: one in so many seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Frame

from .source import Source, WrappedSource


class SampledSource(WrappedSource):
    """``source`` with its first frame, and then the first one in every ``seconds``; each keeps its own time.

    Args:
        source: closed with this one.
        seconds: above 0; those of the source's times, so that a variable rate does not matter.

    Raises:
        SettingsError: ``seconds`` is not a number above 0.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        if not 0 < seconds < math.inf:
            raise SettingsError(f"one frame in every {seconds} seconds: give a number above 0")
        super().__init__(source)
        self._step = Fraction(str(seconds))  # a fifth, not the float next to it
        info, frames = source.info, None
        if info.frames is not None and info.rate is not None:
            frames = min(info.frames, math.ceil(info.frames / info.rate / self._step))
        self.info = replace(info, frames=frames)

    def __iter__(self) -> Iterator[Frame]:
        due: Fraction | None = None
        for frame in self._source:
            if due is None:
                due = frame.seconds
            if frame.seconds >= due:
                yield frame
                due += self._step * (1 + (frame.seconds - due) // self._step)
