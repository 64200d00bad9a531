"""Temporal subsampling of a source: one frame per interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Frame

from .source import Source, WrappedSource


class SampledSource(WrappedSource):
    """Yields the first frame of ``source`` and the first one in every following interval, times unchanged.

    Args:
        source: the source to sample; closed together with this one.
        seconds: length of the interval, above 0, measured in the source's timestamps, so a variable frame
            rate does not matter.

    Raises:
        SettingsError: ``seconds`` is not a number above 0.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        if not 0 < seconds < math.inf:
            raise SettingsError(f"one frame in every {seconds} seconds: give a number above 0")
        super().__init__(source)
        self._step = Fraction(str(seconds))  # 0.2 as exactly 1/5, not the nearest float
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
