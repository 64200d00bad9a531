"""Which library and which arithmetic run a model on this CPU: measured once, remembered, with the reason."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from br2focus.realtime.device import cores
from br2focus.realtime.errors import SettingsError, first_line
from br2focus.realtime.frame import Image

from .backends import Backend, Precision
from .backends.model_cache import graph_key, keep
from .load import is_short_of_memory

Library = Literal["openvino", "onnxruntime", "torch"]
LIBRARIES: tuple[Library, ...] = ("openvino", "onnxruntime", "torch")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")  # the most exact first
ROUNDS, UNCOUNTED, COUNTED = 3, 2, 3
MARGIN = 0.95  # another way than the most exact has to be this much faster
AVX512_VNNI = 23  # OpenCV's number: its Python module has no name for it


class Way(NamedTuple):
    """A library and its arithmetic."""

    library: Library
    precision: Precision

    @property
    def name(self) -> str:
        """As backends call themselves: "openvino bf16"."""
        return f"{self.library} {self.precision}"


EXACT = Way("torch", "fp32")


@dataclass(frozen=True)
class Choice:
    """What was chosen and why.

    Attributes:
        way: the fastest one; among equals the most exact.
        milliseconds: time of a map for every way that ran, by its name; {} where nothing was measured.
        size: width and height of the map that was measured.
        fresh: measured now, not read from the cache.
        failed: why a way could not run, by its name; only where it was tried now.
    """

    way: Way
    milliseconds: Mapping[str, float]
    size: tuple[int, int]
    fresh: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """One line for the user."""
        if self.failed and not self.milliseconds:
            return f"{self.way.name}, since everything else failed"
        if not self.milliseconds:
            return f"{self.way.name}, not measured: what is found out cannot be kept"
        times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in self.milliseconds.items())
        return f"{self.way.name} is the fastest here ({times} at {self.size[0]}x{self.size[1]})"


def ways(library: str, precision: str, *, has_ranges: bool) -> list[Way]:
    """What this computer can run of what was asked for; "auto" leaves a part open.

    PyTorch is never chosen by itself where another library is installed: it is slower everywhere we looked,
    and importing it takes longer than a short job.

    Raises:
        SettingsError: nothing of it is possible here.
    """
    possible = [way for lib in LIBRARIES for way in _of(lib, has_ranges=has_ranges)]
    asked = [
        way for way in possible if library in ("auto", way.library) and precision in ("auto", way.precision)
    ]
    if not asked:
        known = ", ".join(way.name for way in possible)
        raise SettingsError(f"{library} with {precision} is not possible here: {known} are")
    if library == "auto":
        asked = [way for way in asked if way.library != "torch"] or asked
    if library == "torch" and precision == "auto":
        return [EXACT]
    return asked


def _of(library: Library, *, has_ranges: bool) -> list[Way]:
    if find_spec(library) is None:
        return []
    if library == "onnxruntime":
        return [Way(library, "fp32")]
    if library == "torch":
        return [Way(library, "fp32"), Way(library, "bf16")]
    from .backends.openvino import has_bf16

    found: list[Way] = [Way(library, "fp32")]
    if has_bf16():
        found.append(Way(library, "bf16"))
    if has_ranges and _has_int8():
        found.append(Way(library, "int8"))
    return found


def _has_int8() -> bool:
    """Whether this CPU sums products of bytes in 32 bits; others do it in 16, which saturate."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return cv2.checkHardwareSupport(AVX512_VNNI)
    return any(flag in flags for flag in ("vnni", "amx_int8", "asimddp"))


def choose(
    possible: Sequence[Way],
    make: Callable[[Way], Backend],
    size: tuple[int, int],
    frame_size: tuple[int, int] | None = None,
    *,
    sha256: str,
    cache: Path,
    faults: tuple[type[Exception], ...],
) -> Choice:
    """The best of ``possible`` for the model ``sha256`` on this computer; from ``cache`` if it is known.

    A result is not kept where nothing ran, or where a backend ran out of memory: that may change.

    Args:
        make: makes a backend for maps of ``size`` (width, height); one that fails, there or at its first
            map, is left out.
        size: of the map.
        frame_size: of the frames; None for that of the map.
        faults: what a backend raises where it cannot run.
    """
    path = cache / f"choice-{_key(sha256, possible)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if known["milliseconds"]:
            return Choice(Way(*known["way"]), known["milliseconds"], tuple(known["size"]))
    if not _writable(cache):  # every way would convert the model anew, now and each time
        return Choice(max(possible, key=lambda way: PRECISIONS.index(way.precision)), {}, size)
    times, errors = _measured(possible, make, frame_size or size, faults)
    milliseconds = {way.name: ms for way, ms in times.items()}
    failed = {way.name: first_line(error) for way, error in errors.items()}
    choice = Choice(best(times), milliseconds, size, fresh=True, failed=failed)
    if times and not any(is_short_of_memory(error) for error in errors.values()):
        content = {"way": choice.way, "milliseconds": choice.milliseconds, "size": size}
        with suppress(OSError):
            keep(path, lambda at: at.write_text(json.dumps(content)))
    return choice


def _writable(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def best(times: Mapping[Way, float]) -> Way:
    """The fastest way, where it is clearly faster than every more exact one; `EXACT` when there is none.

    Among equally exact ones, OpenVINO has the first word: it takes several frames at once.
    """

    def rank(way: Way) -> tuple[int, int]:
        return PRECISIONS.index(way.precision), LIBRARIES.index(way.library)

    ordered = sorted(times, key=rank)
    found = ordered[0] if ordered else EXACT
    for way in ordered[1:]:
        if times[way] < times[found] * MARGIN:
            found = way
    return found


def _measured(
    possible: Sequence[Way],
    make: Callable[[Way], Backend],
    size: tuple[int, int],
    faults: tuple[type[Exception], ...],
) -> tuple[dict[Way, float], dict[Way, Exception]]:
    """Median milliseconds of each way, and the error of each that failed.

    They run in turns, so that whatever else runs here hits all of them.
    """
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    backends: dict[Way, Backend] = {}
    spent: dict[Way, list[float]] = {}
    errors: dict[Way, Exception] = {}
    missing_or_broken: tuple[type[Exception], ...] = (ImportError, *faults)
    with ExitStack() as stack:
        for way in possible:
            try:
                backends[way] = make(way)
                stack.callback(_close, backends[way])
            except missing_or_broken as error:
                errors[way] = error
        for _ in range(ROUNDS):
            for way in [way for way in backends if way not in errors]:
                try:
                    spent.setdefault(way, []).extend(_timed(backends[way], picture))
                except missing_or_broken as error:
                    errors[way] = error
    times = {way: 1e3 * statistics.median(seconds) for way, seconds in spent.items() if way not in errors}
    return times, errors


def _close(backend: Backend) -> None:
    with suppress(RuntimeError):  # one that failed may fail again
        backend.close()


def _timed(backend: Backend, picture: Image) -> list[float]:
    """Seconds of a few maps; the first ones do not count: threads of another library still wait for work."""
    seconds = []
    for _ in range(UNCOUNTED + COUNTED):
        begun = time.perf_counter()
        backend.start(picture)()
        seconds.append(time.perf_counter() - begun)
    return seconds[UNCOUNTED:]


def _key(sha256: str, possible: Sequence[Way]) -> str:
    """Another model, code, computer, library or question is measured anew."""
    from .backends.openvino import cpu_name

    parts = [*(way.name for way in possible), cpu_name(), str(cores())]
    for library in LIBRARIES[:2]:
        spec = find_spec(library)
        if spec is not None and spec.origin is not None:  # when it was installed; cheaper than its version
            parts.append(str(Path(spec.origin).stat().st_mtime_ns))
    return hashlib.sha256(f"{graph_key(sha256, '')} {parts}".encode()).hexdigest()[:24]
