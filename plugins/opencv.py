"""One more stage in an OpenCV loop: picture in, blur map out.

    from br2focus.plugins.opencv import FocusStage

    with FocusStage() as stage:
        result = stage(frame_bgr)
        print(result.score(), result.blur.shape)

Synchronous, one call a frame: no thread, no window, no video library.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from br2focus.models.paths import AnyPath
from br2focus.realtime.closing import Closing
from br2focus.realtime.drawing.dispatch import refiner
from br2focus.realtime.drawing.overlay import OverlayKind, OverlayStyle, draw
from br2focus.realtime.drawing.refining import RefineMode, check_mode
from br2focus.realtime.engine.engine import BackendName, Engine, EngineSettings, PrecisionName
from br2focus.realtime.frame import FocusResult, Frame, Image, Roi, Values
from br2focus.realtime.smoothing.factory import SmoothingSetting, frames_ahead, make_smoother

from .pictures import as_bgr

MICROSECOND = Fraction(1, 1_000_000)
BoxFormat = Literal["xyxy", "xywh"]
# Engines of the process that this one was forked from: ending one would wait for threads that are not here.
_left_behind: list[Engine] = []
_renewing = threading.Lock()


def _forked() -> None:
    global _renewing
    _renewing = threading.Lock()


os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True, eq=False)
class StageResult:
    """What one frame gave; read-only.

    Attributes:
        result: the frame (as BGR) with its map.
        model: name of the model, for legends.
    """

    result: FocusResult
    model: str = field(default="")

    @property
    def blur(self) -> Values:
        """P(blurred): float32 H x W in [0, 1], 1 = blurred."""
        return self.result.blur.values

    @property
    def in_focus(self) -> NDArray[np.bool_]:
        """Where P(blurred) < .5: bool H x W."""
        return self.blur < 0.5

    @property
    def radius(self) -> Values | None:
        """Blur radius of every pixel in pixels of the frame: float32 H x W; None where the model has none."""
        return self.result.radius

    def score(self, roi: tuple[int, int, int, int] | None = None) -> float:
        """How sharp a region is, 0 to 1: it peaks at the best focus (see `BlurMap.score`).

        Args:
            roi: x, y, width, height in pixels, clipped to the frame; None for the whole frame. A detector
                gives corners instead: see `scores`.

        Raises:
            ValueError: the ROI lies outside the frame.
        """
        return self.result.measured.score(None if roi is None else Roi("roi", *map(int, roi)))

    def scores(self, boxes: Any, format: BoxFormat = "xyxy") -> NDArray[np.float64]:
        """The `score` of many boxes.

        Args:
            boxes: N x 4 numbers in pixels, an array, a tensor on any device, or a list, such as
                `supervision.Detections.xyxy`; clipped to the frame.
            format: "xyxy" for two corners (left, top, right, bottom), "xywh" for the top-left corner, width
                and height.

        Returns:
            float64 N; nan for a box that is outside the frame, empty or not finite.

        Raises:
            ValueError: ``boxes`` is not N x 4, or ``format`` is another.
        """
        measured = self.result.measured
        height, width = measured.values.shape
        found = [
            measured.score(Roi("box", x, y, right - x, below - y)) if x < right and y < below else math.nan
            for x, y, right, below in corners(boxes, format, (width, height))
        ]
        return np.array(found, np.float64)

    def overlay(self, kind: OverlayKind = "peaking", style: OverlayStyle | None = None) -> Image:
        """The frame with an overlay, a new uint8 BGR array that may be drawn on."""
        return np.array(draw(self.result, kind, style, self.model))


class FocusStage(Closing):
    """Computes blur maps of single frames in the calling thread.

    Threads may share a stage: their calls take turns. A process forked while no call runs begins anew at its
    first call, with an engine of its own. PyTorch has one thread there: it would wait for others for ever.

    Args:
        model: name of a shipped model, or a .safetensors file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        size: long side of the map in pixels, None for the model's own.
        backend, precision: library and arithmetic on a CPU; "auto" is the fastest, measured once.
        compiled: on a GPU, let `torch.compile` make it faster, after up to a minute at the first frame.
        refining: move the map's edges to those of the picture: "off", "fast", "best".
        smoothing: "adaptive", a time constant in seconds, or None for raw maps.
        rate: frames a second that smoothing assumes of calls without ``seconds``.
        coc: circle of confusion, the largest blur radius that counts as in focus: pixels of the frame, or
            text as ``--coc`` takes it; None for what the footage and its width allow.

    Raises:
        FocusError: the model or the device cannot be used.
        ValueError: ``size``, ``smoothing`` or ``rate`` is out of range, ``smoothing`` needs the next frames,
            or the CPU cannot run what was asked for.
    """

    def __init__(
        self,
        model: AnyPath = "lite",
        *,
        device: str = "auto",
        size: int | None = None,
        backend: BackendName = "auto",
        precision: PrecisionName = "auto",
        compiled: bool = False,
        smoothing: SmoothingSetting = None,
        refining: RefineMode = "off",
        rate: float = 30.0,
        coc: float | str | None = None,
    ) -> None:
        check_mode(refining)
        if frames_ahead(smoothing):
            raise ValueError(
                f"smoothing {smoothing!r} needs later frames, which a stage does not have: choose 'adaptive'"
            )
        if not 0 < rate < math.inf:
            raise ValueError(f"rate is above 0 frames a second, got {rate}")
        allowed = None if coc is None else str(coc)
        self._settings = EngineSettings(model, device, size, backend, precision, compiled, allowed)
        self._smooth_by, self._refining, self._step = smoothing, refining, 1 / rate
        self._begin()

    def _begin(self) -> None:
        """What belongs to this process."""
        self._smoothing = make_smoother(self._smooth_by)
        self._engine = Engine(self._settings)
        self._refine = refiner(self._engine)
        self._index, self._next = 0, 0.0
        self._lock, self._process = threading.Lock(), os.getpid()

    def __call__(self, image: Any, *, seconds: float | None = None, rgb: bool = False) -> StageResult:
        """Compute one frame.

        Args:
            image: a picture of any size, see `pictures.as_bgr`: an array (uint8 BGR, BGRA or gray; uint16, or
                floating point from 0 to 1), a `cv2.UMat`, a PyTorch tensor, or a PIL picture; not changed.
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
        with self._lock:
            return self._computed(bgr, seconds, arrived)

    def _renew_after_fork(self) -> None:
        """Begin anew in another process: the threads of the libraries did not come along."""
        if self._process == os.getpid():
            return
        with _renewing:
            if self._process != os.getpid():
                if (torch := sys.modules.get("torch")) is not None:
                    torch.set_num_threads(1)  # those of OpenMP did not come along either
                _left_behind.append(self._engine)
                self._begin()

    def _computed(self, bgr: Image, seconds: float | None, arrived: float) -> StageResult:
        seconds = self._next if seconds is None else seconds
        pts = round(seconds / MICROSECOND)
        frame = Frame(bgr, self._index, pts, MICROSECOND, arrived)
        self._index, self._next = self._index + 1, seconds + self._step
        # Without smoothing every call is a picture by itself, and the reference is its own.
        raw = self._engine.start(bgr, None if self._smoothing is None else seconds)()
        shown = raw
        if self._smoothing is not None:
            [(_, _, shown)] = self._smoothing.add(frame, raw)
        shown = self._refine(bgr, shown, self._refining)
        kept = raw if raw.radii is not None and shown.radii is None else None
        return StageResult(FocusResult(frame, shown, raw=kept), self._engine.info.name)

    def reset(self) -> None:
        """Forget the past, before a new clip."""
        self._renew_after_fork()
        with self._lock:
            self._index, self._next = 0, 0.0
            self._engine.reference.reset()
            if self._smoothing is not None:
                self._smoothing.reset()

    def close(self) -> None:
        """Release the network; the stage may be used again."""
        if self._process == os.getpid():
            with self._lock:
                self._engine.close()


def corners(boxes: Any, format: str, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of every box, whole pixels inside ``size`` (width, height).

    A box outside, without area or not finite comes back with right <= left or bottom <= top.

    Raises:
        ValueError: see `StageResult.scores`.
    """
    if format not in ("xyxy", "xywh"):
        raise ValueError(f"boxes are 'xyxy' or 'xywh', got {format!r}")
    if hasattr(boxes, "detach"):  # a tensor
        boxes = boxes.detach().cpu().numpy()
    array = np.array(boxes, np.float64)
    if not array.size:
        return []
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes are N x 4 numbers, got {array.shape}")
    array[~np.isfinite(array).all(1)] = 0
    if format == "xywh":
        array[:, 2:] += array[:, :2]
    array[:, :2], array[:, 2:] = np.floor(array[:, :2]), np.ceil(array[:, 2:])
    inside = np.clip(array, 0, [*size, *size]).astype(int)
    return [(x, y, right, below) for x, y, right, below in inside.tolist()]
