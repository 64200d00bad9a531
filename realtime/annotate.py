"""The batch job: one input through the pipeline into its outputs, every frame once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import cv2

from .engine import Engine
from .errors import SourceError
from .frame import FocusResult, Image
from .pipeline import Pipeline
from .refining import RefineMode
from .sink import Sink
from .smoothing import Smoother
from .source import Source


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
    source: Source, engine: Engine, sinks: Sequence[Sink], *, smoothing: Smoother | None = None,
    refining: RefineMode = "off", draw: Callable[[FocusResult], Image] | None = None,
    progress: Progress = lambda done, expected: False,
) -> Summary:  # fmt: skip
    """Write every frame of ``source`` with its map to every one of ``sinks``, then close them.

    What ``draw`` makes of a result is its ``drawn``, which a sink may write; see `Pipeline` for the others.

    On an error every sink is aborted: nothing appears under a final name. OpenCV has fewer threads meanwhile.

    Raises:
        FocusError: of the source, the engine or a sink, whichever failed first.
    """
    begun, done, stopped = time.monotonic(), 0, False
    with few_threads(), ExitStack() as stack:
        for sink in sinks:
            stack.push(sink.__exit__)
        with Pipeline(source, engine, smoothing, refining=refining, draw=draw) as pipeline:
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


@contextmanager
def few_threads() -> Iterator[None]:
    """OpenCV on a quarter of the cores meanwhile: the stages of a file run beside one another."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(max(1, before // 4))
    try:
        yield
    finally:
        cv2.setNumThreads(before)
