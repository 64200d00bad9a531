"""Which live source a text names: a camera, an address, a file at its own pace, or the built-in test."""

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
    """What to ask a camera for; it may give something else, and says so.

    Attributes:
        size: width and height.
        rate: frames a second, None = the camera's choice.
        code: pixel format, such as "MJPG"; None = what carries the size.
    """

    size: tuple[int, int]
    rate: float | None = None
    code: str | None = None


@dataclass(frozen=True)
class LiveOptions:
    """How a source is opened, what is allowed, and how long it may be gone.

    Attributes:
        mode: of a camera, None = its own choice.
        retry_for: seconds until a lost source is given up; None = never, once it gave a picture.
        allow_web: take http and https addresses.
        allow_still: the very same picture for long is no fault.
    """

    mode: CameraMode | None = None
    retry_for: float | None = None
    allow_web: bool = False
    allow_still: bool = False


def shown_name(text: str) -> str:
    """``text`` as it may be shown: an address without its secrets."""
    return redacted(text) if is_url(text) else text


def check_live(text: str, options: LiveOptions) -> None:
    """Refuse what cannot be a source, before anything is opened.

    Raises:
        SettingsError: an address that is not allowed.
        SourceError: a file that is not there.
    """
    if is_url(text):
        check_address(text, allow_web=options.allow_web)
    elif is_file_name(text) and not Path(text).is_file():
        raise SourceError(f"{text}: no such file")


def open_live(text: str, options: LiveOptions = LiveOptions()) -> Source:
    """The live source that ``text`` names; a camera or an address is opened when it is iterated.

    Args:
        text: a camera's number, name, id or device; an address; a video file; "test".
        options: see `LiveOptions`.

    Raises:
        SettingsError: an address that is not allowed.
        SourceError: a file that is no video.
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
    """Whether ``text`` can only mean a file: it is there, ends as videos do, or names a folder.

    Names of cameras have dots too ("USB2.0 HD UVC WebCam").
    """
    path = Path(text)
    looks = path.suffix.lower() in VIDEO_SUFFIXES or len(path.parts) > 1
    return path.is_file() or (looks and path.parts[:2] != ("/", "dev"))


def _same_camera(text: str, mode: CameraMode | None) -> Callable[[], Source]:
    """Opens the camera ``text``, and that very one again: its number may go to another."""
    wanted = [text]

    def opened() -> Camera:
        if mode is None:
            camera = Camera(wanted[0])
        else:
            camera = Camera(wanted[0], size=mode.size, rate=mode.rate, code=mode.code)
        wanted[0] = camera.camera.id or text
        return camera

    return opened
