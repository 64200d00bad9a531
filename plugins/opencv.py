"""One more stage in an OpenCV loop: picture in, blur map out.

    from br2focus.plugins.opencv import FocusStage

    with FocusStage() as stage:
        result = stage(frame_bgr)
        print(result.score(), result.blur.shape)

Synchronous, one call a frame: no thread, no window, no video library.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.realtime.closing import Closing
from br2focus.realtime.engine import BackendName, Engine, EngineSettings, PrecisionName
from br2focus.realtime.finishing import refiner
from br2focus.realtime.frame import FocusResult, Frame, Image, Roi, Values
from br2focus.realtime.overlay import OverlayKind, OverlayStyle, draw
from br2focus.realtime.refining import RefineMode, check_mode
from br2focus.realtime.smoothing import SmoothingSetting, frames_ahead, make_smoother

MICROSECOND = Fraction(1, 1_000_000)


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
            roi: x, y, width, height in pixels, clipped to the frame; None for the whole frame.

        Raises:
            ValueError: the ROI lies outside the frame.
        """
        result = self.result
        blur = result.blur if result.raw is None else result.measured
        return blur.score(None if roi is None else Roi("roi", *map(int, roi)))

    def overlay(self, kind: OverlayKind = "peaking", style: OverlayStyle | None = None) -> Image:
        """The frame with an overlay, a new uint8 BGR array that may be drawn on."""
        return np.array(draw(self.result, kind, style, self.model))


class FocusStage(Closing):
    """Computes blur maps of single frames in the calling thread.

    Args:
        model: name of a shipped model, or a .safetensors file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        size: long side of the map in pixels, None for the model's own.
        backend, precision: library and arithmetic on a CPU; "auto" is the fastest, measured once.
        compiled: on a GPU, let `torch.compile` make it faster, after up to a minute at the first frame.
        refining: move the map's edges to those of the picture: "off", "fast", "best".
        smoothing: "adaptive", a time constant in seconds, or None for raw maps.
        coc: circle of confusion, the largest blur radius that counts as in focus: pixels of the frame, or
            text as ``--coc`` takes it; None for what the footage and its width allow.

    Raises:
        FocusError: the model or the device cannot be used.
        ValueError: ``size`` or ``smoothing`` is out of range, ``smoothing`` needs the next frames, or the CPU
            cannot run what was asked for.
    """

    def __init__(
        self, model: str = "lite", *, device: str = "auto", size: int | None = None,
        backend: BackendName = "auto", precision: PrecisionName = "auto",
        compiled: bool = False, smoothing: SmoothingSetting = None,
        refining: RefineMode = "off", coc: float | str | None = None,
    ) -> None:  # fmt: skip
        check_mode(refining)
        if frames_ahead(smoothing):
            raise ValueError(
                f"smoothing {smoothing!r} needs the next frames, which a stage has not: choose 'adaptive'"
            )
        allowed = None if coc is None else str(coc)
        settings = EngineSettings(model, device, size, backend, precision, compiled, allowed)
        self._engine = Engine(settings)
        self._refine = refiner(self._engine)
        self._smoothing, self._refining = make_smoother(smoothing), refining
        self._index = 0

    def __call__(self, image: Image | cv2.UMat, *, seconds: float | None = None) -> StageResult:
        """Compute one frame.

        Args:
            image: uint8 BGR, BGRA or gray, any size, any strides, or a `cv2.UMat` of these; not changed.
            seconds: media time of the frame, for smoothing; None takes the time of the call.

        Raises:
            ValueError: the array is not such a picture.
            ComputeError: the network cannot run.
        """
        arrived = time.monotonic()
        bgr = _as_bgr(image)
        pts = int((arrived if seconds is None else seconds) / MICROSECOND)
        frame = Frame(bgr, self._index, pts, MICROSECOND, arrived)
        self._index += 1
        # Without smoothing every call is a picture by itself, and the reference is its own.
        raw = self._engine.start(bgr, None if self._smoothing is None else pts * 1e-6)()
        shown = raw
        if self._smoothing is not None:
            [(_, _, shown)] = self._smoothing.add(frame, raw)
        shown = self._refine(bgr, shown, self._refining)
        kept = raw if raw.radii is not None and shown.radii is None else None
        return StageResult(FocusResult(frame, shown, raw=kept), self._engine.info.name)

    def reset(self) -> None:
        """Forget the past, before a new clip."""
        self._index = 0
        self._engine.reference.reset()
        if self._smoothing is not None:
            self._smoothing.reset()

    def close(self) -> None:
        """Release the network; the stage may be used again."""
        self._engine.close()


def _as_bgr(image: Any) -> Image:
    """A contiguous uint8 BGR copy."""
    array = np.asarray(image.get() if isinstance(image, cv2.UMat) else image)
    if array.dtype != np.uint8 or not array.size or array.ndim not in (2, 3):
        raise ValueError(f"a frame is uint8 BGR, BGRA or gray, got {array.dtype} {array.shape}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if channels not in (1, 3, 4):
        raise ValueError(f"a frame has 1, 3 or 4 channels, got {channels}")
    if channels == 3:
        return np.array(array, order="C")  # the caller may reuse the buffer before drawing
    code = cv2.COLOR_BGRA2BGR if channels == 4 else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), code), np.uint8)
