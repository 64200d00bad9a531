"""Selects the inference library and arithmetic for a model on this CPU: measured once, then cached."""

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
from .load import FAULTS, is_short_of_memory

Library = Literal["openvino", "onnxruntime", "torch"]
LIBRARIES: tuple[Library, ...] = ("openvino", "onnxruntime", "torch")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")  # most exact first
ROUNDS, UNCOUNTED, COUNTED = 3, 2, 3
MARGIN = 0.95  # a less exact spec must take less than this share of the time
AVX512_VNNI = 23  # OpenCV's constant, which its Python module does not export


class BackendSpec(NamedTuple):
    """A library and its arithmetic."""

    library: Library
    precision: Precision

    @property
    def name(self) -> str:
        """Name as reported by backends, e.g. "openvino bf16"."""
        return f"{self.library} {self.precision}"


REFERENCE = BackendSpec("torch", "fp32")


@dataclass(frozen=True)
class Selection:
    """The selected backend and the reason.

    Attributes:
        spec: the fastest one; among equals the most exact.
        milliseconds: time per map of every spec that ran, by name; {} if nothing was measured.
        size: width and height of the measured map.
        fresh: True if it was measured now, not read from the cache.
        failed: why a spec could not run, by name; only for specs that were tried now.
    """

    spec: BackendSpec
    milliseconds: Mapping[str, float]
    size: tuple[int, int]
    fresh: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """One line for the user."""
        if self.failed and not self.milliseconds:
            return f"{self.spec.name}, since everything else failed"
        if not self.milliseconds:
            return f"{self.spec.name}, not measured: the cache cannot be written"
        times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in self.milliseconds.items())
        return f"{self.spec.name} is the fastest here ({times} at {self.size[0]}x{self.size[1]})"


def available_backends(library: str, precision: str, *, calibrated: bool) -> list[BackendSpec]:
    """Return the specs that this computer supports and that match the arguments; "auto" matches all.

    PyTorch is not selected automatically if another library is installed. It was slower on every computer we
    tried, and importing it takes longer than a short job.

    Raises:
        SettingsError: there are none.
    """
    possible = [spec for lib in LIBRARIES for spec in _of(lib, calibrated=calibrated)]
    asked = [
        spec
        for spec in possible
        if library in ("auto", spec.library) and precision in ("auto", spec.precision)
    ]
    if not asked:
        known = ", ".join(spec.name for spec in possible)
        raise SettingsError(f"{library} with {precision} is not possible here: {known} are")
    if library == "auto":
        asked = [spec for spec in asked if spec.library != "torch"] or asked
    if library == "torch" and precision == "auto":
        return [REFERENCE]
    return asked


def _of(library: Library, *, calibrated: bool) -> list[BackendSpec]:
    if find_spec(library) is None:
        return []
    if library == "onnxruntime":
        return [BackendSpec(library, "fp32")]
    if library == "torch":
        return [BackendSpec(library, "fp32"), BackendSpec(library, "bf16")]
    from .backends.openvino import has_bf16

    found: list[BackendSpec] = [BackendSpec(library, "fp32")]
    if has_bf16():
        found.append(BackendSpec(library, "bf16"))
    if calibrated and _has_int8():
        found.append(BackendSpec(library, "int8"))
    return found


def _has_int8() -> bool:
    """Return whether this CPU accumulates int8 products in 32 bits; 16 bits, as on others, saturate."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return cv2.checkHardwareSupport(AVX512_VNNI)
    return any(flag in flags for flag in ("vnni", "amx_int8", "asimddp"))


def select(
    possible: Sequence[BackendSpec],
    make: Callable[[BackendSpec], Backend],
    size: tuple[int, int],
    frame_size: tuple[int, int] | None = None,
    *,
    sha256: str,
    cache: Path,
) -> Selection:
    """Return the best of ``possible`` for the model ``sha256`` on this computer, from ``cache`` if known.

    The result is not cached if nothing ran, or if a backend ran out of memory, since that may change.

    Args:
        make: creates a backend for maps of ``size`` (width, height); one that fails, on creation or at its
            first map, is left out.
        size: size of the map.
        frame_size: size of the frames; None for that of the map.
    """
    path = cache / f"selection-{_key(sha256, possible)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if known["milliseconds"]:
            return Selection(BackendSpec(*known["spec"]), known["milliseconds"], tuple(known["size"]))
    if not _writable(cache):  # every run would convert the model again for each spec
        return Selection(max(possible, key=lambda spec: PRECISIONS.index(spec.precision)), {}, size)
    times, errors = _measured(possible, make, frame_size or size)
    milliseconds = {spec.name: ms for spec, ms in times.items()}
    failed = {spec.name: first_line(error) for spec, error in errors.items()}
    selection = Selection(best(times), milliseconds, size, fresh=True, failed=failed)
    if times and not any(is_short_of_memory(error) for error in errors.values()):
        content = {"spec": selection.spec, "milliseconds": selection.milliseconds, "size": size}
        with suppress(OSError):
            keep(path, lambda at: at.write_text(json.dumps(content)))
    return selection


def _writable(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def best(times: Mapping[BackendSpec, float]) -> BackendSpec:
    """Return the fastest spec, or `REFERENCE` if there is none.

    Specs are compared from the most exact one on, and each must be clearly faster than the best so far. Among
    equally exact ones OpenVINO comes first, because it accepts several frames at once.
    """

    def rank(spec: BackendSpec) -> tuple[int, int]:
        return PRECISIONS.index(spec.precision), LIBRARIES.index(spec.library)

    ordered = sorted(times, key=rank)
    found = ordered[0] if ordered else REFERENCE
    for spec in ordered[1:]:
        if times[spec] < times[found] * MARGIN:
            found = spec
    return found


def _measured(
    possible: Sequence[BackendSpec],
    make: Callable[[BackendSpec], Backend],
    size: tuple[int, int],
) -> tuple[dict[BackendSpec, float], dict[BackendSpec, Exception]]:
    """Return the median milliseconds of each spec, and the error of each that failed.

    The specs take turns, so that other load on the computer affects all of them.
    """
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    backends: dict[BackendSpec, Backend] = {}
    spent: dict[BackendSpec, list[float]] = {}
    errors: dict[BackendSpec, Exception] = {}
    missing_or_broken: tuple[type[Exception], ...] = (ImportError, *FAULTS)
    with ExitStack() as stack:
        for spec in possible:
            try:
                backends[spec] = make(spec)
                stack.callback(_close, backends[spec])
            except missing_or_broken as error:
                errors[spec] = error
        for _ in range(ROUNDS):
            for spec in [spec for spec in backends if spec not in errors]:
                try:
                    spent.setdefault(spec, []).extend(_timed(backends[spec], picture))
                except missing_or_broken as error:
                    errors[spec] = error
    times = {spec: 1e3 * statistics.median(seconds) for spec, seconds in spent.items() if spec not in errors}
    return times, errors


def _close(backend: Backend) -> None:
    with suppress(RuntimeError):  # a backend that failed may fail again
        backend.close()


def _timed(backend: Backend, picture: Image) -> list[float]:
    """Return the seconds of a few maps.

    The first ones do not count, since threads of another library may still be busy-waiting.
    """
    seconds = []
    for _ in range(UNCOUNTED + COUNTED):
        begun = time.perf_counter()
        backend.start(picture)()
        seconds.append(time.perf_counter() - begun)
    return seconds[UNCOUNTED:]


def _key(sha256: str, possible: Sequence[BackendSpec]) -> str:
    """Return a key that changes with the model, the code, the computer, the libraries and the specs."""
    from .backends.openvino import cpu_name

    parts = [*(spec.name for spec in possible), cpu_name(), str(cores())]
    for library in LIBRARIES[:2]:
        spec = find_spec(library)
        if spec is not None and spec.origin is not None:  # installation time; cheaper than the version
            parts.append(str(Path(spec.origin).stat().st_mtime_ns))
    return hashlib.sha256(f"{graph_key(sha256, '')} {parts}".encode()).hexdigest()[:24]
