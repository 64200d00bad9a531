"""Cameras: enumerated with names and stable ids, read through OpenCV."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from cv2_enumerate_cameras import enumerate_cameras

from br2focus.realtime.errors import AbsentError, FocusError, SettingsError, SourceError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.source import Source
from br2focus.realtime.timeline import MICROSECOND
from br2focus.realtime.video_info import SourceInfo

from .camera_memory import recalled
from .controls import CameraControls
from .v4l2 import code_of

BY_ID = Path("/dev/v4l/by-id")
LARGE = 1280 * 720  # from this size on, USB cannot carry 30 uncompressed frames per second
SAME_RATE = 0.01  # relative tolerance: 29.97 equals 30, but 24 does not equal 25

OpenCapture = Callable[[str | int, int], Any]


def _capture(place: str | int, backend: int) -> Any:
    return cv2.VideoCapture(place, backend)


@dataclass(frozen=True)
class CameraInfo:
    """A connected camera.

    Attributes:
        index: OpenCV's number, which may refer to another camera after replugging.
        name: the manufacturer's name; cameras of the same model share it.
        id: stable id that does not depend on the port: a path in /dev/v4l/by-id, else the device.
        device: the path to open, or "".
        backend: OpenCV's number of the driver.
    """

    index: int
    name: str
    id: str
    device: str
    backend: int


def list_cameras() -> list[CameraInfo]:
    """Return all cameras that can deliver frames, sorted by number."""
    found = enumerate_cameras(cv2.CAP_V4L2) if Path("/dev").is_dir() else enumerate_cameras()
    links = _links()
    cameras = [
        CameraInfo(c.index, c.name or "", links.get(c.path or "", c.path or ""), c.path or "", c.backend)
        for c in found
    ]
    return sorted(cameras, key=lambda camera: camera.index)


def find_camera(wanted: str) -> CameraInfo:
    """Return the camera with this number, stable id, device, or (partial) name.

    Raises:
        AbsentError: there is none.
        SourceError: several cameras match the name.
    """
    cameras = list_cameras()
    if Path(wanted).is_relative_to("/dev"):
        device = str(Path(wanted).resolve())
        fitting = [c for c in cameras if device == str(Path(c.device).resolve())]
    elif wanted.isdigit():
        fitting = [c for c in cameras if c.index == int(wanted)]
    else:
        fitting = [c for c in cameras if wanted.lower() in c.name.lower()]
        exact = [c for c in fitting if c.name.lower() == wanted.lower()]
        fitting = exact or fitting
    if not fitting:
        there = ", ".join(f"{c.index} ({c.name})" for c in cameras) or "none"
        raise AbsentError(f"camera {wanted}: not there; cameras here: {there}")
    if len(fitting) > 1:
        ids = ", ".join(c.id for c in fitting)
        raise SourceError(f"camera {wanted}: {len(fitting)} have that name; say which: {ids}")
    return fitting[0]


class Camera(Source):
    """Live frames from a camera, with the controls that were saved for it.

    Args:
        wanted: a camera as accepted by `find_camera`; looked up again each time it is opened.
        size: width and height to request; ``info.size`` is what the camera delivers.
        rate: frames per second to request.
        code: pixel format to request, up to four letters ("MJPG", "YUYV"); MJPG for large frames by default.
        open_capture: opens a device; OpenCV's by default.

    Attributes:
        camera: the camera that was found.

    Raises:
        SettingsError: ``code`` is not a pixel format.
        SourceError: the camera does not exist or cannot be opened; while iterating, it disappears.
    """

    def __init__(
        self,
        wanted: str,
        *,
        size: tuple[int, int] | None = None,
        rate: float | None = None,
        code: str | None = None,
        open_capture: OpenCapture = _capture,
    ) -> None:
        if code is not None and not (code.isascii() and 0 < len(code) <= 4):
            raise SettingsError(f"pixel format {code!r}: up to four letters, such as MJPG or YUYV")
        self.camera = find_camera(wanted)
        self._name = f"camera {self.camera.name or wanted}"
        self._closed, self._released = threading.Event(), False
        place = self.camera.device or self.camera.index
        self._capture = open_capture(place, self.camera.backend)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{self._name}: cannot be opened; is another program using it?")
        self._request_mode(size, rate, code)
        given = [self._capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.info = SourceInfo(
            self._name,
            size=(int(given[0]), int(given[1])) if all(given) else None,
            rate=Fraction(fps).limit_denominator(1001) if 1 <= fps <= 1000 else None,
            live=True,
        )
        self._notices = (*self._unmet_request(size, rate, code), *_restored(self.camera))

    @property
    def notices(self) -> tuple[str, ...]:
        """Requested settings that the camera did not accept, and which controls were restored or not."""
        return self._notices

    def close(self) -> None:
        """End the iteration at the next frame; may be called from any thread.

        The reading thread releases the camera, because some drivers crash if another thread releases it
        during a read.
        """
        self._closed.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._release()

    def __iter__(self) -> Iterator[Frame]:
        index, begun = 0, time.monotonic()
        try:
            while not self._closed.is_set():
                there, image = self._capture.read()
                arrived = time.monotonic()
                if not there:
                    raise SourceError(f"{self._name}: gives no pictures any more; unplugged?")
                pts = round((arrived - begun) / float(MICROSECOND))
                yield Frame(np.ascontiguousarray(image), index, pts, MICROSECOND, arrived)
                index += 1
        finally:
            self._release()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._capture.release()

    def _request_mode(self, size: tuple[int, int] | None, rate: float | None, code: str | None) -> None:
        if code is None and size is not None and size[0] * size[1] >= LARGE:
            code = "MJPG"
        if code is not None:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*code.ljust(4)))
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if rate is not None:
            self._capture.set(cv2.CAP_PROP_FPS, rate)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # stale frames are worthless

    def _unmet_request(
        self, size: tuple[int, int] | None, rate: float | None, code: str | None
    ) -> tuple[str, ...]:
        """Return a notice if the camera's mode differs from the requested one.

        Values that the driver does not report are not compared.
        """
        if size is None and rate is None and code is None:
            return ()
        given = code_of(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        info = self.info
        if (
            (size is None or info.size is None or size == info.size)
            and (not rate or not info.rate or math.isclose(rate, info.rate, rel_tol=SAME_RATE))
            and (not code or not given or code.rstrip() == given)
        ):
            return ()
        return (f"asked {_mode(size, rate, code)}, got {_mode(info.size, info.rate, given)}",)


def _mode(size: tuple[int, int] | None, rate: float | Fraction | None, code: str | None) -> str:
    """Describe a mode as far as it is known, e.g. "MJPG 1280 x 720 at 30 frames/s"."""
    picture = " ".join(part for part in (code, size and f"{size[0]} x {size[1]}") if part)
    return " at ".join(part for part in (picture, rate and f"{float(rate):g} frames/s") if part)


def _restored(camera: CameraInfo) -> tuple[str, ...]:
    """Restore the controls saved for ``camera``, and return what happened, one line each."""
    if camera.backend != cv2.CAP_V4L2 or not camera.id:
        return ()
    try:
        values = recalled(camera.id)
    except FocusError as error:
        return (str(error),)
    return CameraControls(camera.device).restore(values)


def _links() -> dict[str, str]:
    """Return the stable link of each device."""
    if not BY_ID.is_dir():
        return {}
    return {str(link.resolve()): str(link) for link in sorted(BY_ID.iterdir(), reverse=True)}
