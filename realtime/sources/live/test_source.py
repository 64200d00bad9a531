"""The built-in test source: an endless rendered focus pull in real time, without a camera.

`FocusPullSource.truth` returns what is in focus in every frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from fractions import Fraction

from br2focus.models.rendering.clips import FAR, NEAR, ClipFrame, ClipSpec, RackFocusClip
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import Source
from br2focus.realtime.video_info import SourceInfo

RATE = Fraction(30)
PULLS = ((0.0, NEAR), (0.6, NEAR), (3.2, FAR), (3.8, FAR))


class FocusPullSource(Source):
    """Plays a rendered clip of 3.8 s back and forth forever in real time; late frames are skipped.

    Rendering takes several seconds. The frames are cached, which takes about 100 MB at 640 x 480.

    Args:
        width, height: size of the frames.
        seed: selects the scene.
        rate: frames per second; a higher rate plays the same clip faster.
    """

    def __init__(self, width: int = 640, height: int = 480, *, seed: int = 1, rate: Fraction = RATE) -> None:
        spec = ClipSpec(width, height, RATE, PULLS[-1][0], seed, PULLS)
        self.clip = RackFocusClip(spec)
        self.info = SourceInfo("test", size=(width, height), rate=rate, live=True)
        self._rate, self._closed = rate, threading.Event()
        self._made: dict[int, ClipFrame] = {}
        self.truth(0)  # build the scene before the clock starts

    def again(self, rate: Fraction) -> FocusPullSource:
        """Return a source that restarts the same clip at another rate; renders nothing twice."""
        other = copy(self)
        other.info = replace(self.info, rate=rate)
        other._rate, other._closed = rate, threading.Event()
        return other

    def render_all(self) -> None:
        """Render every frame now, so that none is rendered during a measurement."""
        for index in range(len(self.clip)):
            self.truth(index)

    def close(self) -> None:
        """End the iteration; may be called from any thread."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        index, begun = 0, time.monotonic()
        while not self._closed.wait(max(0.0, begun + float(index / self._rate) - time.monotonic())):
            image = self.truth(index).image
            late = time.monotonic() - begun
            yield Frame(image, index, index, 1 / self._rate, time.monotonic())
            index = max(index + 1, int(late * self._rate))

    def truth(self, index: int) -> ClipFrame:
        """Return frame ``index`` with its mask and focus distance."""
        last = len(self.clip) - 1
        place = index % (2 * last)
        place = min(place, 2 * last - place)
        if place not in self._made:  # rendering occupies a core, so do it only once
            self._made[place] = self.clip.frame(place)
        return self._made[place]
