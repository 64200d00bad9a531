"""One more stage in an OpenCV loop: picture in, blur map out.

    from br2focus.plugins.opencv import FocusStage

    with FocusStage() as stage:
        result = stage(frame_bgr)
        print(result.score(), result.blur.shape)

Synchronous, one call a frame: no thread, no window, no video library. `FocusStage.run` is the form for
asyncio, `FocusStage.batch` the one for many frames at once.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from typing import Any, Unpack

from br2focus.models.paths import AnyPath
from br2focus.realtime.closing import Closing
from br2focus.realtime.drawing.dispatch import drawer, refiner
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.frame import Frame, Image
from br2focus.realtime.pipeline import Pipeline
from br2focus.realtime.result import FocusResult
from br2focus.realtime.settings import FocusOptions, FocusSettings
from br2focus.realtime.smoothing.factory import frames_ahead, make_smoother
from br2focus.realtime.sources.arrays import Frames, as_bgr

__all__ = ["FocusResult", "FocusSettings", "FocusStage"]

MICROSECOND = Fraction(1, 1_000_000)
# Engines of the process that this one was forked from: ending one would wait for threads that are not here.
_left_behind: list[Engine] = []
_renewing = threading.Lock()


def _forked() -> None:
    global _renewing
    _renewing = threading.Lock()


os.register_at_fork(after_in_child=_forked)


class FocusStage(Closing):
    """Computes blur maps of single frames in the calling thread.

    Threads may share a stage: their calls take turns. A process forked while no call runs makes an engine of
    its own at its first call; PyTorch has one thread there.

    Args:
        model: name of a shipped model, a .safetensors file, or all settings in one.
        rate: frames a second that smoothing assumes of calls without ``seconds``.
        settings: fields of `FocusSettings` by name, such as ``device="cpu"`` or ``smoothing="adaptive"``.

    Raises:
        FocusError: the model or the device cannot be used.
        ValueError: a setting is out of range, ``smoothing`` needs later frames, or the CPU cannot run what
            was asked for.
    """

    def __init__(
        self,
        model: AnyPath | FocusSettings = "lite",
        *,
        rate: float = 30.0,
        **settings: Unpack[FocusOptions],
    ) -> None:
        self.settings, self._rate = FocusSettings.of(model, settings), rate
        if frames_ahead(self.settings.smoothing):
            raise ValueError(
                f"smoothing {self.settings.smoothing!r} needs later frames, which a stage does not have: "
                "choose 'adaptive'"
            )
        if not 0 < rate < math.inf:
            raise ValueError(f"rate is above 0 frames a second, got {rate}")
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to this process."""
        self._smoother = make_smoother(self.settings.smoothing)
        self._engine = Engine(self.settings)
        self._refined, self._painter = refiner(self._engine), drawer(self._engine)
        self._idle: list[Engine] = []  # of batches that ended
        self._worker: ThreadPoolExecutor | None = None
        self._index, self._next = 0, 0.0
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._era, self._process = object(), os.getpid()

    def __call__(self, image: Any, *, seconds: float | None = None, rgb: bool = False) -> FocusResult:
        """Compute one frame.

        Args:
            image: a picture of any size, see `as_bgr`: an array (uint8 BGR, BGRA or gray; uint16, or floating
                point from 0 to 1), a `cv2.UMat`, a PyTorch tensor, or a PIL picture; not changed.
            seconds: media time of the frame, for smoothing; None for one step of ``rate`` after the call
                before.
            rgb: an array or tensor has red first.

        Raises:
            ValueError: it is not such a picture.
            ComputeError: the network cannot run.
        """
        arrived = time.monotonic()
        bgr = as_bgr(image, rgb=rgb)
        self._renew_after_fork()
        return self._locked(bgr, seconds, arrived)

    async def run(self, image: Any, *, seconds: float | None = None, rgb: bool = False) -> FocusResult:
        """Compute one frame without blocking the event loop, in order of the calls.

        The image is copied at once. If the task is cancelled, its frame may still be computed.
        """
        arrived = time.monotonic()
        bgr = as_bgr(image, rgb=rgb)
        self._renew_after_fork()
        with self._starting:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "focus-stage")
            worker = self._worker
        job = partial(self._locked, bgr, seconds, arrived)
        return await asyncio.get_running_loop().run_in_executor(worker, job)

    def batch(self, images: Iterable[Any], *, rgb: bool = False) -> Iterator[FocusResult]:
        """Yield the results of many frames in order, computing several at a time: faster, but each later.

        They are one clip of ``rate`` frames per second. Smoothing and the reference of ``coc`` are not shared
        with other calls. Each batch that runs at the same time has an engine of its own.

        Args:
            images: as for a call; they are requested from another thread, a few ahead.
            rgb: arrays and tensors are in RGB order.

        Raises:
            FocusError: an image cannot be read, or the network cannot run.
        """
        self._renew_after_fork()
        with self._starting:
            era, engine = self._era, self._idle.pop() if self._idle else Engine(self.settings)
        source = Frames(images, self._rate, rgb=rgb)
        try:
            with Pipeline(source, engine, self.settings.smoothing, refine=self.settings.refine) as results:
                yield from results
        finally:
            with self._starting:
                keep = era is self._era and not self._idle
                if keep:
                    self._idle.append(engine)
            if not keep:
                engine.close()

    def reset(self) -> None:
        """Forget what was smoothed, and the sharpest of what was seen: call it between two clips."""
        self._renew_after_fork()
        with self._lock:
            self._index, self._next = 0, 0.0
            self._engine.reference.reset()
            if self._smoother is not None:
                self._smoother.reset()

    def close(self) -> None:
        """Release the networks; the stage may be used again. A batch that is running ends by itself."""
        if self._process != os.getpid():
            return
        with self._starting:
            worker, self._worker = self._worker, None
            idle, self._idle, self._era = self._idle, [], object()
        if worker is not None:
            worker.shutdown(cancel_futures=True)
        for engine in idle:
            engine.close()
        with self._lock:
            self._engine.close()

    def _renew_after_fork(self) -> None:
        """Begin anew in another process: the threads of the libraries did not come along."""
        if self._process == os.getpid():
            return
        with _renewing:
            if self._process != os.getpid():
                if (torch := sys.modules.get("torch")) is not None:
                    torch.set_num_threads(1)  # those of OpenMP did not come along either
                _left_behind.append(self._engine)
                _left_behind.extend(self._idle)
                self._begin()

    def _locked(self, bgr: Image, seconds: float | None, arrived: float) -> FocusResult:
        with self._lock:
            return self._computed(bgr, seconds, arrived)

    def _computed(self, bgr: Image, seconds: float | None, arrived: float) -> FocusResult:
        seconds = self._next if seconds is None else seconds
        frame = Frame(bgr, self._index, round(seconds / MICROSECOND), MICROSECOND, arrived)
        raw = self._engine.start(bgr, None if self._smoother is None else seconds)()
        self._index, self._next = self._index + 1, seconds + 1 / self._rate
        shown = raw if self._smoother is None else self._smoother.add(frame, raw)[0].shown
        fine = self._refined(bgr, shown, self.settings.refine)
        alone = None if shown is raw and self.settings.refine == "off" else raw
        return FocusResult(frame, fine, raw=alone, model=self._engine.info.name, painter=self._painter)
