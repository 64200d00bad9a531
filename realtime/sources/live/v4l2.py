"""Camera capabilities and controls on Linux: a thin layer over the ioctl calls of V4L2.

The existing library, linuxpy, is licensed under GPL-3 and queries everything about a camera each time it is
opened.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from fractions import Fraction
from struct import Struct
from typing import Any, NamedTuple

from br2focus.realtime.closing import Closing
from br2focus.realtime.errors import SourceError


class _Call(NamedTuple):
    """An ioctl of linux/videodev2.h: its number, and the struct that it fills in."""

    number: int
    layout: Struct


ENUM_FMT = _Call(2, Struct("=III32sI16x"))
GET_CTRL = _Call(27, Struct("=Ii"))
SET_CTRL = _Call(28, Struct("=Ii"))
QUERY_CTRL = _Call(36, Struct("=II32s4iI8x"))
QUERY_MENU = _Call(37, Struct("=II32s4x"))
ENUM_SIZES = _Call(74, Struct("=3I6I8x"))
ENUM_INTERVALS = _Call(75, Struct("=5I6I8x"))

CAPTURES = (1, 9)  # buffer types: single-planar and multi-planar capture
DISCRETE = 1  # the other kinds give the limits of a range
DISABLED, LOCKED = 0x1, 0x2 | 0x4 | 0x10  # grabbed by a program, read-only, or controlled by an automatic
MANY = 256  # upper limit for broken drivers with endless lists
GONE = (errno.ENODEV, errno.ENXIO, errno.ENOENT)


class ControlId(IntEnum):
    """Kernel ids of the controls; unlike the names, they are the same in all kernel versions."""

    AUTOFOCUS = 0x009A090C  # "Focus, Auto"; since Linux 5.16 "Focus, Automatic Continuous"
    FOCUS = 0x009A090A
    AUTO_EXPOSURE = 0x009A0901
    EXPOSURE = 0x009A0902
    GAIN = 0x00980913


class Query(NamedTuple):
    """Properties of a control as reported by the driver; ``active``: its value can be set now."""

    minimum: int
    maximum: int
    step: int
    default: int
    active: bool


def has_v4l2(device: str) -> bool:
    """Return whether ``device`` can be queried at all: on Linux, and given as a path."""
    return sys.platform == "linux" and bool(device)


def code_of(fourcc: int) -> str:
    """Return the letters of a pixel format, such as "MJPG"; empty for none."""
    if fourcc <= 0:
        return ""
    letters = fourcc & 0x7FFF_FFFF  # the top bit is the byte order
    return letters.to_bytes(4, "little").decode("ascii", "replace").rstrip(" \0")


class Node(Closing):
    """The open device of a camera; other programs may stream from it at the same time.

    Anything that the driver refuses to report counts as missing.

    Args:
        device: its path.

    Raises:
        SourceError: also from every method: the camera is gone, or may not be accessed.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        try:
            self._file = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            text = f"{device}: no permission; is this user in the group video?"
            raise SourceError(text) from error
        except OSError as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Close the device."""
        os.close(self._file)

    def formats(self) -> Iterator[int]:
        """Yield the supported pixel formats (fourcc)."""
        for capture in CAPTURES:
            for answer in self._listed(ENUM_FMT, capture):
                yield answer[4]

    def sizes(self, fourcc: int) -> Iterator[tuple[int, int]]:
        """Yield the widths and heights of a pixel format; for a range, the largest and the smallest."""
        for _, _, kind, *numbers in self._listed(ENUM_SIZES, fourcc):
            if kind == DISCRETE:
                yield numbers[0], numbers[1]
            else:  # minimum, maximum and step of the width, then of the height
                yield numbers[1], numbers[4]
                yield numbers[0], numbers[3]
                return

    def rates(self, fourcc: int, size: tuple[int, int]) -> tuple[Fraction, ...]:
        """Return the frames per second, highest first; for a range, the highest and the lowest."""
        found = set()
        for *_, kind, a, b, c, d, _, _ in self._listed(ENUM_INTERVALS, fourcc, *size):
            intervals = [(a, b)] if kind == DISCRETE else [(a, b), (c, d)]
            found |= {Fraction(below, above) for above, below in intervals if above}
            if kind != DISCRETE:
                break
        return tuple(sorted(found, reverse=True))

    def query(self, control: ControlId) -> Query | None:
        """Return range and state of a control, or None if the camera lacks it."""
        answer = self._asked(QUERY_CTRL, control)
        if answer is None:
            return None
        *_, low, high, step, default, flags = answer
        return None if flags & DISABLED else Query(low, high, step, default, not flags & LOCKED)

    def menu(self, control: ControlId, items: range) -> frozenset[int]:
        """Return those of ``items`` that a menu control accepts."""
        return frozenset(item for item in items if self._asked(QUERY_MENU, control, item) is not None)

    def get(self, control: ControlId) -> int | None:
        """Return the value of a control, or None if it cannot be read."""
        answer = self._asked(GET_CTRL, control)
        return None if answer is None else int(answer[1])

    def set(self, control: ControlId, value: int) -> int:
        """Set a control and return the value that the camera accepted, which may be rounded.

        Raises:
            SourceError: the camera refuses, too.
        """
        try:
            return int(self._call(SET_CTRL, control, value & 0xFFFF_FFFF)[1])
        except OSError as error:
            raise self._explained(error, f"refuses {control.name.lower()} {value}: ") from error

    def _listed(self, call: _Call, *given: int) -> Iterator[tuple[Any, ...]]:
        for index in range(MANY):
            answer = self._asked(call, index, *given)
            if answer is None:
                return
            yield answer

    def _asked(self, call: _Call, *given: int) -> tuple[Any, ...] | None:
        try:
            return self._call(call, *given)
        except OSError as error:
            if error.errno in GONE:
                raise self._explained(error) from error
            return None

    def _call(self, call: _Call, *given: int) -> tuple[Any, ...]:
        import fcntl  # not available on other systems

        number, layout = call
        data = bytearray(layout.size)
        struct.pack_into(f"={len(given)}I", data, 0, *given)
        fcntl.ioctl(self._file, 3 << 30 | layout.size << 16 | ord("V") << 8 | number, data)
        return layout.unpack(data)

    def _explained(self, error: OSError, doing: str = "") -> SourceError:
        if error.errno in GONE:
            return SourceError(f"{self._device}: is gone; unplugged?")
        return SourceError(f"{self._device}: {doing}{error.strerror}")
