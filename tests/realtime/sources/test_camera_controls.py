"""Formats and controls of cameras over a kernel that is played, with the structs of linux/videodev2.h."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
from collections.abc import Callable
from ctypes import c_char, c_int32, c_uint32
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest

from br2focus.realtime.errors import SettingsError, SinkError, SourceError
from br2focus.realtime.folders import config_folder
from br2focus.realtime.sources.live.camera_memory import recalled, remember
from br2focus.realtime.sources.live.controls import CameraControls, Control, Format, list_formats
from br2focus.realtime.sources.live.v4l2 import code_of

AUTOFOCUS, FOCUS, AUTO_EXPOSURE, EXPOSURE, GAIN = 0x9A090C, 0x9A090A, 0x9A0901, 0x9A0902, 0x980913
DISABLED, GRABBED, INACTIVE = 0x1, 0x2, 0x10
CAMERA = "/dev/v4l/by-id/usb-Cam_1234-video-index0"


class FmtDesc(ctypes.Structure):
    _fields_: ClassVar = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FrameSize(ctypes.Structure):
    _fields_: ClassVar = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class FrameInterval(ctypes.Structure):
    _fields_: ClassVar = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class QueryCtrl(ctypes.Structure):
    _fields_: ClassVar = [
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    ]


class QueryMenu(ctypes.Structure):
    _fields_: ClassVar = [
        ("id", c_uint32),
        ("index", c_uint32),
        ("name", c_char * 32),
        ("reserved", c_uint32),
    ]


class Ctrl(ctypes.Structure):
    _fields_: ClassVar = [("id", c_uint32), ("value", c_int32)]


@dataclass
class Knob:
    """A control as the kernel has it."""

    name: bytes
    minimum: int
    maximum: int
    step: int
    default: int
    value: int
    menu: tuple[int, ...] = ()
    flags: int = 0


def fourcc(code: str) -> int:
    return int.from_bytes(code.ljust(4).encode(), "little")


@dataclass
class Kernel:
    """A camera behind ioctl; ``written`` keeps every (control, value) in order."""

    knobs: dict[int, Knob] = field(default_factory=dict)
    formats: dict[tuple[int, str], list[tuple[int, list[int]]]] = field(default_factory=dict)
    intervals: tuple[int, list[list[int]]] = (1, [])
    broken: dict[int, int] = field(default_factory=dict)  # request (or control) -> errno
    written: list[tuple[int, int]] = field(default_factory=list)

    def ioctl(self, file: int, request: int, data: bytearray) -> int:
        os.fstat(file)  # is open
        answers: dict[int, tuple[type[ctypes.Structure], Callable[[Any], int]]] = {
            0xC0405602: (FmtDesc, self._format),
            0xC02C564A: (FrameSize, self._size),
            0xC034564B: (FrameInterval, self._interval),
            0xC0445624: (QueryCtrl, self._query),
            0xC02C5625: (QueryMenu, self._item),
            0xC008561B: (Ctrl, self._get),
            0xC008561C: (Ctrl, self._set),
        }
        layout, answer = answers[request]
        assert ctypes.sizeof(layout) == len(data) == request >> 16 & 0x3FFF
        asked = layout.from_buffer(data)
        number = self.broken.get(request) or self.broken.get(getattr(asked, "id", -1))
        if number := number or answer(asked):
            raise OSError(number, os.strerror(number))
        return 0

    def _format(self, asked: FmtDesc) -> int:
        codes = [code for kind, code in self.formats if kind == asked.type]
        if asked.index >= len(codes):
            return errno.EINVAL
        asked.description, asked.pixelformat = b"Motion-JPEG", fourcc(codes[asked.index])
        return 0

    def _size(self, asked: FrameSize) -> int:
        [sizes] = [s for (_, code), s in self.formats.items() if fourcc(code) == asked.pixel_format]
        if asked.index >= len(sizes):
            return errno.EINVAL
        asked.type, numbers = sizes[asked.index]
        asked.numbers[: len(numbers)] = numbers
        return 0

    def _interval(self, asked: FrameInterval) -> int:
        kind, intervals = self.intervals
        assert asked.pixel_format and asked.width and asked.height
        if asked.index >= len(intervals):
            return errno.EINVAL
        asked.type, numbers = kind, intervals[asked.index]
        asked.numbers[: len(numbers)] = numbers
        return 0

    def _query(self, asked: QueryCtrl) -> int:
        knob = self.knobs.get(asked.id)
        if knob is None:
            return errno.EINVAL
        asked.name, asked.flags = knob.name, knob.flags
        asked.minimum, asked.maximum, asked.step = knob.minimum, knob.maximum, knob.step
        asked.default_value = knob.default
        return 0

    def _item(self, asked: QueryMenu) -> int:
        return 0 if asked.index in self.knobs[asked.id].menu else errno.EINVAL

    def _get(self, asked: Ctrl) -> int:
        if asked.id not in self.knobs:
            return errno.EINVAL
        asked.value = self.knobs[asked.id].value
        return 0

    def _set(self, asked: Ctrl) -> int:
        knob = self.knobs[asked.id]
        self.written.append((asked.id, asked.value))
        held = {FOCUS: (AUTOFOCUS, (0,)), EXPOSURE: (AUTO_EXPOSURE, (1, 2))}.get(asked.id)
        if held and held[0] in self.knobs and self.knobs[held[0]].value not in held[1]:
            return errno.EACCES  # as uvcvideo answers
        if knob.menu and asked.value not in knob.menu:
            return errno.EINVAL
        knob.value = knob.minimum + (asked.value - knob.minimum) // knob.step * knob.step
        asked.value = knob.value
        return 0


def webcam(autofocus: bytes = b"Focus, Automatic Continuous", menu: tuple[int, ...] = (1, 3)) -> Kernel:
    """A webcam with everything on automatic."""
    knobs = {
        AUTOFOCUS: Knob(autofocus, 0, 1, 1, 1, 1),
        FOCUS: Knob(b"Focus, Absolute", 0, 250, 5, 0, 30, flags=INACTIVE),
        AUTO_EXPOSURE: Knob(b"Auto Exposure", 0, 3, 1, menu[-1], menu[-1], menu),
        EXPOSURE: Knob(b"Exposure Time, Absolute", 3, 2047, 1, 250, 333, flags=INACTIVE),
        GAIN: Knob(b"Gain", -8, 255, 1, 0, -3),
    }
    return Kernel(knobs)


@pytest.fixture
def device(tmp_path: Path) -> str:
    """What can be opened; the kernel behind it is played."""
    path = tmp_path / "video0"
    path.touch()
    return str(path)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], Kernel]:
    def play(kernel: Kernel) -> Kernel:
        monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
        return kernel

    return play


@pytest.fixture
def kernel(played: Callable[[Kernel], Kernel]) -> Kernel:
    return played(webcam())


# Formats.


def test_formats_are_listed_with_exact_rates(device: str, kernel: Kernel) -> None:
    kernel.formats = {
        (1, "MJPG"): [(1, [1920, 1080]), (1, [1280, 720])],
        (1, "YUYV"): [(1, [640, 480])],
        (1, "Y16"): [],
    }
    kernel.intervals = (1, [[1, 15], [1001, 60000], [1, 30], [0, 1]])
    rates = (Fraction(60000, 1001), Fraction(30), Fraction(15))
    assert list_formats(device) == (
        Format("MJPG", 1920, 1080, rates),
        Format("MJPG", 1280, 720, rates),
        Format("YUYV", 640, 480, rates),
    )


def test_of_a_range_the_ends_are_listed(device: str, kernel: Kernel) -> None:
    kernel.formats = {(9, "NV12"): [(3, [32, 4096, 2, 16, 2160, 4])]}  # multi-planar, stepwise
    kernel.intervals = (2, [[1, 120, 1, 1, 1, 1]])
    rates = (Fraction(120), Fraction(1))
    assert list_formats(device) == (
        Format("NV12", 4096, 2160, rates),
        Format("NV12", 32, 16, rates),
    )


def test_rates_that_a_driver_does_not_tell(device: str, kernel: Kernel) -> None:
    kernel.formats = {(1, "GREY"): [(1, [64, 48])]}
    assert list_formats(device) == (Format("GREY", 64, 48, ()),)


def test_codes_are_letters() -> None:
    assert code_of(fourcc("MJPG")) == "MJPG" and code_of(fourcc("Y16")) == "Y16"
    assert code_of(fourcc("Y16") | 1 << 31) == "Y16" and code_of(0) == code_of(-1) == ""


# Controls.


@pytest.mark.parametrize("name", [b"Focus, Auto", b"Focus, Automatic Continuous"])
def test_controls_have_our_names_in_every_kernel(
    name: bytes, device: str, played: Callable[[Kernel], Kernel]
) -> None:
    played(webcam(autofocus=name))
    assert CameraControls(device).list() == (
        Control("autofocus", 0, 1, 1, 1, 1, True),
        Control("focus", 0, 250, 5, 0, 30, False),
        Control("auto_exposure", 0, 1, 1, 1, 1, True),
        Control("exposure", 3, 2047, 1, 250, 333, False),
        Control("gain", -8, 255, 1, 0, -3, True),
    )


def test_focus_is_set_after_the_autofocus_is_off(device: str, kernel: Kernel) -> None:
    controls = CameraControls(device)
    assert controls.set("focus", 123) == 120, "what the camera took"
    assert kernel.written == [(AUTOFOCUS, 0), (FOCUS, 123)]
    assert controls.set("focus", 125) == 125
    assert kernel.written[2:] == [(FOCUS, 125)], "off is off"


def test_gain_leaves_the_automatics_alone(device: str, kernel: Kernel) -> None:
    assert CameraControls(device).set("gain", -8) == -8
    assert kernel.written == [(GAIN, -8)]


@pytest.mark.parametrize(
    ("menu", "auto", "manual"),
    [((1, 3), 3, 1), ((0, 1), 0, 1), ((0, 1, 2, 3), 3, 1), ((2, 3), 3, 2)],
)
def test_exposure_menus(
    menu: tuple[int, ...], auto: int, manual: int, device: str, played: Callable[[Kernel], Kernel]
) -> None:
    kernel = played(webcam(menu=menu))
    kernel.knobs[AUTO_EXPOSURE].value = auto
    controls = CameraControls(device)
    assert controls.set("exposure", 100) == 100
    assert controls.set("auto_exposure", 1) == 1
    assert controls.set("auto_exposure", 0) == 0
    modes = [(AUTO_EXPOSURE, manual), (AUTO_EXPOSURE, auto), (AUTO_EXPOSURE, manual)]
    assert kernel.written == [modes[0], (EXPOSURE, 100), *modes[1:]]


def test_an_exposure_that_is_always_automatic(device: str, played: Callable[[Kernel], Kernel]) -> None:
    played(webcam(menu=(3,)))
    controls = CameraControls(device)
    with pytest.raises(SettingsError, match="auto_exposure 0 is not within 1 to 1"):
        controls.set("auto_exposure", 0)
    with pytest.raises(SourceError, match="refuses exposure 100: Permission denied"):
        controls.set("exposure", 100)


def test_what_is_out_of_range_changes_nothing(device: str, kernel: Kernel) -> None:
    controls = CameraControls(device)
    with pytest.raises(SettingsError, match="focus 251 is not within 0 to 250"):
        controls.set("focus", 251)
    with pytest.raises(SettingsError, match="gain -9 is not within -8 to 255"):
        controls.set("gain", -9)
    assert kernel.written == []


def test_a_camera_with_fixed_focus(device: str, kernel: Kernel) -> None:
    del kernel.knobs[AUTOFOCUS]
    kernel.knobs[FOCUS].flags |= DISABLED
    kernel.knobs[GAIN].flags |= GRABBED
    kernel.broken[EXPOSURE] = errno.EIO  # firmware that cannot be asked hides nothing else
    auto, gain = CameraControls(device).list()
    assert auto.name == "auto_exposure" and gain.name == "gain" and not gain.active
    with pytest.raises(SettingsError, match="no control focus; it has auto_exposure, gain"):
        CameraControls(device).set("focus", 1)


def test_no_v4l2(device: str, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    for place in (device, ""):
        assert list_formats(place) == CameraControls(place).list() == ()
    with pytest.raises(SettingsError, match="no control focus; it has none that can be set here"):
        CameraControls(device).set("focus", 1)
    assert CameraControls("").restore({"gain": 1}) == (
        "camera: no control gain; it has none that can be set here",
    )


@pytest.mark.parametrize("place", ["/dev/null", "file"])
def test_what_is_no_camera(place: str, device: str) -> None:
    path = device if place == "file" else place
    assert list_formats(path) == CameraControls(path).list() == ()


def test_a_camera_that_is_gone(device: str, kernel: Kernel, tmp_path: Path) -> None:
    controls = CameraControls(str(tmp_path / "video7"))
    for ask in (controls.list, lambda: controls.set("gain", 1), lambda: list_formats(device + "7")):
        with pytest.raises(SourceError, match="video.*7: is gone; unplugged"):
            ask()
    kernel.broken = dict.fromkeys((0xC0405602, 0xC0445624, 0xC008561C), errno.ENODEV)
    for ask in (CameraControls(device).list, lambda: list_formats(device)):
        with pytest.raises(SourceError, match="video0: is gone; unplugged"):
            ask()
    assert CameraControls(device).restore({"autofocus": 0, "gain": 1}) == (f"{device}: is gone; unplugged?",)


def test_no_file_stays_open(device: str, kernel: Kernel) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    controls = CameraControls(device)
    controls.list()
    controls.set("focus", 5)
    kernel.broken[GAIN] = errno.ENODEV
    with pytest.raises(SourceError):
        controls.list()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Remembered and restored.


def test_controls_are_restored_in_the_order_that_works(device: str, kernel: Kernel) -> None:
    values = {"gain": 4, "focus": 20, "exposure": 9, "auto_exposure": 0, "autofocus": 0, "iris": 1}
    assert CameraControls(device).restore(values) == (
        "restored autofocus 0, focus 20, auto_exposure 0, exposure 9, gain 4",
    )
    assert kernel.written == [
        (AUTOFOCUS, 0),
        (FOCUS, 20),
        (AUTO_EXPOSURE, 1),
        (EXPOSURE, 9),
        (GAIN, 4),
    ]


def test_what_was_automatic_stays_so(device: str, kernel: Kernel) -> None:
    values = {"autofocus": 1, "focus": 20, "auto_exposure": 1, "exposure": 9}
    assert CameraControls(device).restore(values) == ("restored autofocus 1, auto_exposure 1",)
    assert kernel.written == [(AUTOFOCUS, 1), (AUTO_EXPOSURE, 3)]


def test_a_value_that_does_not_fit_stops_no_other(device: str, kernel: Kernel) -> None:
    said = CameraControls(device).restore({"focus": 999, "gain": 4})
    assert said == ("restored gain 4", f"{device}: focus 999 is not within 0 to 250")
    assert CameraControls(device).restore({}) == ()


def test_remembered_for_each_camera(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "config"
    assert recalled(CAMERA, folder) == {} and not folder.exists()
    remember(CAMERA, {"focus": 30, "autofocus": 0}, folder)
    remember("other", {"gain": 1}, folder)
    remember(CAMERA, {"gain": 7}, folder)
    assert recalled(CAMERA, folder) == {"gain": 7} and recalled("other", folder) == {"gain": 1}
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    remember(CAMERA, {}, folder)
    assert json.loads(file.read_text()) == {"other": {"gain": 1}}


def test_the_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BR2FOCUS_CONFIG", str(tmp_path))
    remember(CAMERA, {"gain": 7})
    assert recalled(CAMERA) == {"gain": 7} and (tmp_path / "cameras.json").exists()
    monkeypatch.delenv("BR2FOCUS_CONFIG")
    assert config_folder().name == "br2focus"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"gain": "7"}}',
        b'{"a": {"gain": 1.5}}',
        b"\xff\x00",
        b'{"a": {"gain": true}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_put_aside(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    file.write_bytes(content)
    assert recalled(CAMERA, tmp_path) == {}
    assert (tmp_path / "cameras.json.bad").read_bytes() == content and not file.exists()
    file.write_bytes(content)
    remember(CAMERA, {"gain": 7}, tmp_path)
    assert recalled(CAMERA, tmp_path) == {"gain": 7}
    assert (tmp_path / "cameras.json.bad").read_bytes() == content


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "cameras.json").mkdir()
    with pytest.raises(SettingsError, match=r"cameras\.json: cannot be read: Is a directory"):
        recalled(CAMERA, tmp_path)
    with pytest.raises(SinkError, match="cameras"):
        remember(CAMERA, {"gain": 7}, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="its folder is a file|exists"):
        remember(CAMERA, {"gain": 7}, tmp_path / "file")


def test_a_write_that_fails_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(CAMERA, {"gain": 7}, tmp_path)

    def full(self: Path, *args: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SinkError, match="the disk is full"):
        remember(CAMERA, {"gain": 8}, tmp_path)
    assert recalled(CAMERA, tmp_path) == {"gain": 7} and len(list(tmp_path.iterdir())) == 1
