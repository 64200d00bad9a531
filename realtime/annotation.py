"""The batch job: runs one input through the pipeline into its outputs, each frame exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import cv2

from .drawing.refining import RefineMode
from .errors import SourceError
from .frame import Image
from .network import Network
from .pipeline import Pipeline
from .result import FocusResult
from .sinks.sink import Sink
from .smoothing.factory import SmoothingSetting
from .smoothing.protocol import Smoother
from .sources.source import Source


class Progress(Protocol):
    """Called after every frame with the frames done and expected (None: unknown); return True to stop."""

    def __call__(self, done: int, expected: int | None) -> bool: ...


@dataclass(frozen=True)
class Summary:
    """The outcome of one job.

    Attributes:
        frames: frames written to every sink.
        seconds: wall time from requesting the first frame to closing the last sink.
        stopped: True if ``progress`` ended the job early; the output up to that point is complete.
    """

    frames: int
    seconds: float
    stopped: bool

    @property
    def fps(self) -> float:
        """Frames per second of wall time."""
        return self.frames / self.seconds if self.seconds else 0.0


def annotate(
    source: Source,
    network: Network,
    sinks: Sequence[Sink],
    *,
    smoothing: Smoother | SmoothingSetting = None,
    refine: RefineMode = "off",
    draw: Callable[[FocusResult], Image] | None = None,
    progress: Progress = lambda done, expected: False,
) -> Summary:
    """Write every frame of ``source`` with its blur map to all ``sinks``, then close the sinks.

    After an error every sink is aborted and nothing appears under a final name. OpenCV uses fewer threads
    while the job runs.

    Args:
        source, network, smoothing, refine: see `Pipeline`.
        sinks: the outputs.
        draw: makes the ``drawn`` picture of each result, which a sink may write.
        progress: see `Progress`.

    Raises:
        FocusError: the first error of the source, the network or a sink.
    """
    begun, done, stopped = time.monotonic(), 0, False
    with few_threads, ExitStack() as stack:
        for sink in sinks:
            stack.push(sink.__exit__)
        with Pipeline(source, network, smoothing, refine=refine, draw=draw) as pipeline:
            for result in pipeline:
                for sink in sinks:
                    sink.write(result)
                done += 1
                if progress(done, source.info.frames):
                    stopped = True
                    break
        if not done and not stopped:
            raise SourceError(f"{source.info.name}: no decodable video frames")
    return Summary(done, time.monotonic() - begun, stopped)


class _FewThreads:
    """Limits OpenCV to a quarter of its threads while any job runs, since the stages run concurrently.

    OpenCV's thread count is global to the process, so overlapping jobs share one reduction: the first job
    applies it and the last one reverts it.
    """

    def __init__(self) -> None:
        self._lock, self._jobs, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._jobs += 1
            if self._jobs == 1:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(max(1, self._before // 4))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._jobs -= 1
            if not self._jobs:
                cv2.setNumThreads(self._before)


few_threads = _FewThreads()
