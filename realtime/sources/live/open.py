"""Opens the live source that a text describes: a camera, an address, a file in real time, or the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from br2focus.realtime.errors import SourceError
from br2focus.realtime.sources.images import VIDEO_SUFFIXES
from br2focus.realtime.sources.source import Source
from br2focus.realtime.sources.video_file import VideoFile

from .camera import Camera
from .connection import ReconnectPolicy
from .paced import PacedSource
from .reconnecting import ReconnectingSource
from .stream import NetworkStream, check_address, is_url, redacted
from .test_source import FocusPullSource

TEST = "test"


@dataclass(frozen=True)
class CameraMode:
    """Mode to request from a camera; if it delivers another one, a notice says so.

    Attributes:
        size: width and height.
        rate: frames per second; None for the camera's choice.
        code: pixel format, such as "MJPG"; None for one that can carry the size.
    """

    size: tuple[int, int]
    rate: float | None = None
    code: str | None = None


@dataclass(frozen=True)
class LiveOptions:
    """How to open a live source, what is allowed, and how long it may be gone.

    Attributes:
        mode: camera mode; None for the camera's choice.
        retry_for: seconds after which a lost source is abandoned; None = never, once it has delivered a
            frame.
        allow_web: accept http and https addresses.
        allow_still: a long run of identical images is not a fault.
    """

    mode: CameraMode | None = None
    retry_for: float | None = None
    allow_web: bool = False
    allow_still: bool = False


def shown_name(text: str) -> str:
    """Return ``text`` for display; an address without its secrets."""
    return redacted(text) if is_url(text) else text


def check_live(text: str, options: LiveOptions) -> None:
    """Reject an invalid source before anything is opened.

    Raises:
        SettingsError: the address is not allowed.
        SourceError: the file does not exist.
    """
    if is_url(text):
        check_address(text, allow_web=options.allow_web)
    elif is_file_name(text) and not Path(text).is_file():
        raise SourceError(f"{text}: no such file")


def open_live(text: str, options: LiveOptions = LiveOptions()) -> Source:
    """Return the live source that ``text`` describes; cameras and addresses are opened on iteration.

    Args:
        text: a camera's number, name, id or device; an address; a video file; "test".
        options: see `LiveOptions`.

    Raises:
        SettingsError: the address is not allowed.
        SourceError: the file is not a video.
    """
    frozen = None if options.allow_still else ReconnectPolicy.frozen
    policy = ReconnectPolicy(retry_for=options.retry_for, frozen=frozen)
    if text == TEST:
        return FocusPullSource()
    if is_url(text):
        check_address(text, allow_web=options.allow_web)
        return ReconnectingSource(
            lambda: NetworkStream(text, allow_web=options.allow_web), redacted(text), policy
        )
    if is_file_name(text):
        return PacedSource(VideoFile(Path(text)))
    return ReconnectingSource(_same_camera(text, options.mode), f"camera {text}", policy)


def is_file_name(text: str) -> bool:
    """Return whether ``text`` can only mean a file: it exists, has a video suffix, or names a folder.

    A dot alone is not enough, since camera names contain dots as well ("USB2.0 HD UVC WebCam").
    """
    path = Path(text)
    looks = path.suffix.lower() in VIDEO_SUFFIXES or len(path.parts) > 1
    return path.is_file() or (looks and path.parts[:2] != ("/", "dev"))


def _same_camera(text: str, mode: CameraMode | None) -> Callable[[], Source]:
    """Return an opener that always reopens the same camera, whose number may pass to another one."""
    wanted = [text]

    def opened() -> Camera:
        if mode is None:
            camera = Camera(wanted[0])
        else:
            camera = Camera(wanted[0], size=mode.size, rate=mode.rate, code=mode.code)
        wanted[0] = camera.camera.id or text
        return camera

    return opened
