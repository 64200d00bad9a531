"""Camera formats and the controls for focus, exposure and gain, on Linux through V4L2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from br2focus.realtime.errors import FocusError, SettingsError

from .v4l2 import ControlId, Node, code_of, has_v4l2

MODES = range(4)  # kernel values of the exposure mode; in each tuple, the most common first
AUTO = (3, 0)  # automatic exposure time; automatic time and iris
MANUAL = (1, 2)  # manual exposure time and iris; manual time
# The automatic that must be off before a control can be set.
AUTOMATICS = {ControlId.FOCUS: ControlId.AUTOFOCUS, ControlId.EXPOSURE: ControlId.AUTO_EXPOSURE}


@dataclass(frozen=True)
class Format:
    """A video format that a camera supports.

    Attributes:
        code: pixel format, at most four letters: "MJPG", "YUYV".
        width, height: size in pixels.
        rates: frames per second, highest first; the two limits for a range; empty if unknown.
    """

    code: str
    width: int
    height: int
    rates: tuple[Fraction, ...]


@dataclass(frozen=True)
class Control:
    """A control of a camera.

    Attributes:
        name: "autofocus", "focus", "auto_exposure", "exposure" or "gain", regardless of the kernel's name.
        minimum, maximum, step, default, value: in the camera's own units (exposure: usually 0.1 ms); 0 or 1
            for the automatics.
        active: True if it can be set now. Focus and exposure usually cannot while their automatic is on;
            `CameraControls.set` turns it off.
    """

    name: str
    minimum: int
    maximum: int
    step: int
    default: int
    value: int
    active: bool


def list_formats(device: str) -> tuple[Format, ...]:
    """Return the formats of the camera at ``device``.

    The result is empty without V4L2, or if the driver does not report them.

    Raises:
        SourceError: the device is gone, or may not be accessed.
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
    """The controls of a camera, whether it is streaming or not.

    The device is opened for each call, so a camera is found again after replugging.

    Args:
        device: its path; without V4L2 it has no controls.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def list(self) -> tuple[Control, ...]:
        """Return the controls that the camera has.

        Raises:
            SourceError: the camera is gone, or may not be accessed.
        """
        if not has_v4l2(self._device):
            return ()
        with Node(self._device) as node:
            found = [_control(node, control) for control in ControlId]
        return tuple(control for control in found if control is not None)

    def set(self, name: str, value: int) -> int:
        """Turn off a control's automatic, set the control, and return the value that the camera accepted.

        Raises:
            SettingsError: the camera lacks the control, or the value is out of range.
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
        """Set ``values`` in an order that works; controls whose automatic is on are skipped.

        Returns:
            What was set, and what could not be set and why, one line each.
        """
        done, refused = [], []
        for control in ControlId:  # each automatic comes before the control that it governs
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
    """Convert ``value`` to the kernel's; for automatic exposure, that is an entry of its menu."""
    if control is not ControlId.AUTO_EXPOSURE:
        return value
    menu = node.menu(control, MODES)
    return next(mode for mode in (AUTO if value else MANUAL) if mode in menu)
