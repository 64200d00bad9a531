"""What a camera can give, and its focus, exposure and gain: on Linux, through V4L2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from br2focus.realtime.errors import FocusError, SettingsError

from .v4l2 import ControlId, Node, code_of, has_v4l2

MODES = range(4)  # of exposure, as the kernel counts; the most usual first:
AUTO = (3, 0)  # time alone; time and iris
MANUAL = (1, 2)  # time and iris; time alone
# What has to be off before the other can be set.
AUTOMATICS = {ControlId.FOCUS: ControlId.AUTOFOCUS, ControlId.EXPOSURE: ControlId.AUTO_EXPOSURE}


@dataclass(frozen=True)
class Format:
    """Pictures that a camera can give.

    Attributes:
        code: pixel format, four letters at most: "MJPG", "YUYV".
        width, height: in pixels.
        rates: frames a second, the most first; of a range the two ends; empty when unknown.
    """

    code: str
    width: int
    height: int
    rates: tuple[Fraction, ...]


@dataclass(frozen=True)
class Control:
    """A control of a camera.

    Attributes:
        name: "autofocus", "focus", "auto_exposure", "exposure" or "gain", whatever the kernel calls it.
        minimum, maximum, step, default, value: in the camera's own units (exposure: mostly 0.1 ms); the
            automatics are 0 or 1.
        active: can be set as things are; focus and exposure mostly not while their automatic is on, which
            `CameraControls.set` turns off.
    """

    name: str
    minimum: int
    maximum: int
    step: int
    default: int
    value: int
    active: bool


def list_formats(device: str) -> tuple[Format, ...]:
    """What the camera at ``device`` can give; empty without V4L2, or where the driver does not say.

    Raises:
        SourceError: the device is gone, or may not be used.
    """
    if not has_v4l2(device):
        return ()
    with Node(device) as node:
        return tuple(
            Format(code_of(fourcc), *size, node.rates(fourcc, size))
            for fourcc in node.formats()
            for size in node.sizes(fourcc)
        )


class CameraControls:
    """The controls of a camera, while it streams or not.

    The device is opened for each call: a camera that comes back after unplugging is found again.

    Args:
        device: its path; without V4L2 it has no controls.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def list(self) -> tuple[Control, ...]:
        """Those that the camera has.

        Raises:
            SourceError: the camera is gone, or may not be used.
        """
        if not has_v4l2(self._device):
            return ()
        with Node(self._device) as node:
            found = [_control(node, control) for control in ControlId]
        return tuple(control for control in found if control is not None)

    def set(self, name: str, value: int) -> int:
        """Set a control, after its automatic was turned off; returns the value that the camera took.

        Raises:
            SettingsError: the camera has no such control, or the value is out of its range.
            SourceError: the camera is gone or refuses.
        """
        there = {control.name: control for control in self.list()}
        if name not in there:
            has = ", ".join(there) or "none that can be set here"
            raise SettingsError(f"{self._device or 'camera'}: no control {name}; it has {has}")
        low, high = there[name].minimum, there[name].maximum
        if not low <= value <= high:
            raise SettingsError(f"{self._device}: {name} {value} is not within {low} to {high}")
        control = ControlId[name.upper()]
        automatic = AUTOMATICS.get(control)
        governor = there.get(automatic.name.lower()) if automatic else None
        with Node(self._device) as node:
            if automatic and governor and governor.value > governor.minimum:
                node.set(automatic, _kernel_value(node, automatic, 0))
            taken = node.set(control, _kernel_value(node, control, value))
        return int(taken in AUTO) if control is ControlId.AUTO_EXPOSURE else taken

    def restore(self, values: Mapping[str, int]) -> tuple[str, ...]:
        """Set ``values`` in the order that works; what an automatic governs is left to it.

        Returns what was set, and what could not be and why, a line each.
        """
        done, refused = [], []
        for control in ControlId:  # each automatic stands before what it governs
            name, automatic = control.name.lower(), AUTOMATICS.get(control)
            if name not in values or (automatic and values.get(automatic.name.lower())):
                continue
            try:
                done.append(f"{name} {self.set(name, values[name])}")
            except FocusError as error:
                refused.append(str(error))
        lines = [f"restored {', '.join(done)}"] if done else []
        return (*lines, *dict.fromkeys(refused))


def _control(node: Node, control: ControlId) -> Control | None:
    query, value = node.query(control), node.get(control)
    if query is None or value is None:
        return None
    name, (low, high, step, default, active) = control.name.lower(), query
    if control is not ControlId.AUTO_EXPOSURE:
        return Control(name, low, high, step, default, value, active)
    menu = node.menu(control, MODES)
    low, high = int(menu.isdisjoint(MANUAL)), int(not menu.isdisjoint(AUTO))
    if low > high:
        return None
    return Control(name, low, high, 1, int(default in AUTO), int(value in AUTO), active)


def _kernel_value(node: Node, control: ControlId, value: int) -> int:
    """``value`` as the kernel counts it; for the exposure's automatic an entry of its menu."""
    if control is not ControlId.AUTO_EXPOSURE:
        return value
    menu = node.menu(control, MODES)
    return next(mode for mode in (AUTO if value else MANUAL) if mode in menu)
