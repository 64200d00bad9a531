"""The built-in test source: a rendered focus pull, live, for ever, with no camera.

What is in focus is known for every frame: `FocusPullSource.truth` says it.
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
from br2focus.realtime.sources.source import ClosingSource
from br2focus.realtime.video_info import SourceInfo

RATE = Fraction(30)
PULLS = ((0.0, NEAR), (0.6, NEAR), (3.2, FAR), (3.8, FAR))


class FocusPullSource(ClosingSource):
    """A clip of 4 s, forwards and backwards for ever, at its own pace; a frame that is late is left out.

    Making it takes some seconds, and its frames are kept: some 100 MB at 640 x 480.

    Args:
        width, height: of the pictures.
        seed: another seed, another scene.
        rate: pictures a second; more of them are the same clip, faster.
    """

    def __init__(self, width: int = 640, height: int = 480, *, seed: int = 1, rate: Fraction = RATE) -> None:
        spec = ClipSpec(width, height, RATE, PULLS[-1][0], seed, PULLS)
        self.clip = RackFocusClip(spec)
        self.info = SourceInfo("test", size=(width, height), rate=rate, live=True)
        self._rate, self._closed = rate, threading.Event()
        self._made: dict[int, ClipFrame] = {}
        self.truth(0)  # the scene is built before the clock starts

    def again(self, rate: Fraction) -> FocusPullSource:
        """The same pictures at another rate, from the first on; nothing is rendered twice."""
        other = copy(self)
        other.info = replace(self.info, rate=rate)
        other._rate, other._closed = rate, threading.Event()
        return other

    def render_all(self) -> None:
        """Make every picture now, so that none has to be made while time is measured."""
        for index in range(len(self.clip)):
            self.truth(index)

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        index, begun = 0, time.monotonic()
        while not self._closed.wait(max(0.0, begun + float(index / self._rate) - time.monotonic())):
            image = self.truth(index).image
            late = time.monotonic() - begun
            yield Frame(image, index, index, 1 / self._rate, time.monotonic())
            index = max(index + 1, int(late * self._rate))

    def truth(self, index: int) -> ClipFrame:
        """Frame ``index`` with its mask and the distance in focus."""
        last = len(self.clip) - 1
        place = index % (2 * last)
        place = min(place, 2 * last - place)
        if place not in self._made:  # rendering takes a core: the first time is enough
            self._made[place] = self.clip.frame(place)
        return self._made[place]
