"""The batch job: one input through the pipeline into its outputs, every frame once."""

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
    """Called after every frame with the frames done and expected (None: unknown); True stops."""

    def __call__(self, done: int, expected: int | None) -> bool: ...


@dataclass(frozen=True)
class Summary:
    """What one job did.

    Attributes:
        frames: frames written to every sink.
        seconds: wall time from the first frame's request to the last sink's close.
        stopped: the job ended early because ``progress`` asked for it; what is there is complete.
    """

    frames: int
    seconds: float
    stopped: bool

    @property
    def fps(self) -> float:
        """Frames a second of wall time."""
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
    """Write every frame of ``source`` with its map to every one of ``sinks``, then close them.

    What ``draw`` makes of a result is its ``drawn``, which a sink may write; see `Pipeline` for the others.

    On an error every sink is aborted: nothing appears under a final name. OpenCV has fewer threads meanwhile.

    Raises:
        FocusError: of the source, the network or a sink, whichever failed first.
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
    """OpenCV on a quarter of the cores while any job runs: the stages of a file run beside one another.

    OpenCV's thread count is global to the process, so jobs that overlap share one reduction: the first makes
    it, the last takes it back.
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
