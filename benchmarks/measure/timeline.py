"""Where the threads of `annotate` spend their time per frame: work, CPU time and waiting; printed as a table.

    python -m benchmarks.measure.timeline CLIP                       on this computer's CPU
    python -m benchmarks.measure.timeline CLIP --model standard --device cuda   all on a GPU

Work that is not CPU time is waiting: for a core, the interpreter's lock, the GPU, or threads of a library.
The first of two runs is not counted.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report.markdown import markdown
from br2focus.realtime.annotation import annotate
from br2focus.realtime.channel import Channel
from br2focus.realtime.drawing.dispatch import painter
from br2focus.realtime.drawing.overlay import Paint, draw
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Image
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks.sink import picture_of
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.video_file import VideoFile


class Watch:
    """Wall and CPU seconds by thread, split where the thread calls a channel."""

    def __init__(self) -> None:
        self.spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._since: dict[int, tuple[float, float]] = {}

    def calls(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``call``: its time counts as ``what``, and the time before it as work."""

        def watched(*given: Any, **more: Any) -> Any:
            self._cut("work")
            try:
                return call(*given, **more)
            finally:
                self._cut(what)

        return watched

    def _cut(self, what: str) -> None:
        thread, now = threading.current_thread(), (time.monotonic(), time.thread_time())
        before = self._since.get(threading.get_ident())
        self._since[threading.get_ident()] = now
        if before is not None:
            self.spent[thread.name][what] += now[0] - before[0]
            self.spent[thread.name][f"{what}, CPU"] += now[1] - before[1]


def run(clip: Path, engine: Engine, folder: Path) -> int:
    """Process one file as `br2focus annotate` does; return the number of frames."""
    source = VideoFile(clip)
    sink = VideoWriter(folder / "out.mp4", source.info, render=picture_of, overwrite=True)
    heat = partial(_heat, painter(engine))
    return annotate(source, engine, [sink], smoothing="look-ahead", refine="best", draw=heat).frames


def _heat(paint: Paint, result: FocusResult) -> Image:
    return draw(result, "heat", paint=paint)


def report(clip: Path, engine: Engine) -> str:
    """Run twice and watch the second run: a row per thread, and totals."""
    with tempfile.TemporaryDirectory() as folder:
        run(clip, engine, Path(folder))
        watch, plain = Watch(), (Channel.put, Channel.__next__)
        Channel.put = watch.calls("waits for the next", plain[0])  # type: ignore[method-assign]
        Channel.__next__ = watch.calls("waits for the one before", plain[1])  # type: ignore[method-assign]
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        try:
            frames = run(clip, engine, Path(folder))
        finally:
            Channel.put, Channel.__next__ = plain  # type: ignore[method-assign]
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    columns = ("work", "work, CPU", "waits for the one before", "waits for the next")
    rows = [
        [name, *(f"{1e3 * spent[column] / frames:.1f}" for column in columns)]
        for name, spent in watch.spent.items()
    ]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (
        markdown(["thread", *(f"{column}, ms" for column in columns)], rows)
        + f"\n\n{frames} frames on {engine.device}, {1e3 * seconds / frames:.1f} ms each, "
        f"{1e3 * cpu / frames:.1f} of CPU, {(after.ru_nvcsw - before.ru_nvcsw) / frames:.0f} switches."
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    print(report(options.clip, Engine(EngineSettings(options.model, options.device))))


if __name__ == "__main__":
    main()
