"""The camera's controls in the panel, on a camera that does not exist."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

import pytest

from br2focus.plugins.qt import camera_box
from br2focus.plugins.qt.camera_box import Abilities, CameraBox
from br2focus.realtime.errors import SourceError
from br2focus.realtime.sources.live.camera import CameraInfo
from br2focus.realtime.sources.live.camera_memory import recalled
from br2focus.realtime.sources.live.controls import Control, Format
from br2focus.realtime.sources.live.open import CameraMode

CAMERA = CameraInfo(0, "Webcam", "/dev/v4l/by-id/webcam", "/dev/video0", 200)
FORMATS = (Format("MJPG", 1280, 720, (Fraction(30), Fraction(15))), Format("YUYV", 640, 480, ()))


class Camera:
    """The controls of a driver; counts what is set."""

    values: ClassVar[dict[str, int]] = {}

    def __init__(self, device: str) -> None:
        assert device == CAMERA.device

    def list(self) -> tuple[Control, ...]:
        return tuple(
            Control(n, 0, 1 if n == "autofocus" else 250, 1, 0, v, True) for n, v in self.values.items()
        )

    def set(self, name: str, value: int) -> int:
        if value == 13:
            raise SourceError("/dev/video0: gone")
        if value == 14:
            raise StopIteration
        if name == "focus":
            self.values["autofocus"] = 0
        self.values[name] = value
        return value


@pytest.fixture
def box(qtbot, monkeypatch: pytest.MonkeyPatch) -> CameraBox:
    monkeypatch.setattr(Camera, "values", {"autofocus": 1, "focus": 10})
    monkeypatch.setattr(camera_box, "CameraControls", Camera)
    found = Abilities(CAMERA, FORMATS, Camera(CAMERA.device).list())
    monkeypatch.setattr(camera_box, "abilities", lambda source: found if source == "0" else None)
    made = CameraBox()
    qtbot.addWidget(made)
    made.look_at("0", None)
    qtbot.waitUntil(lambda: not made.isHidden())
    yield made
    made.end()


def test_a_moved_slider_is_set_and_remembered(qtbot, box):
    focus, autofocus = box._widgets["focus"], box._widgets["autofocus"]
    assert focus.value() == 10 and autofocus.isChecked()
    for value in range(20, 121, 5):
        focus.setValue(value)
    qtbot.waitUntil(lambda: recalled(CAMERA.id) == {"autofocus": 0, "focus": 120})
    qtbot.waitUntil(lambda: not autofocus.isChecked())
    assert focus.value() == 120


@pytest.mark.parametrize("value", [13, 14])
def test_a_driver_that_fails_is_told_and_the_next_value_is_set(qtbot, box, value):
    with qtbot.waitSignal(box.trouble):
        box._widgets["focus"].setValue(value)
    box._widgets["focus"].setValue(77)
    qtbot.waitUntil(lambda: Camera.values["focus"] == 77)


def test_a_mode_is_picked_and_shown(qtbot, box):
    combo = box._form.itemAt(0, box._form.ItemRole.FieldRole).widget()
    texts = [combo.itemText(number) for number in range(combo.count())]
    assert texts == [
        "the camera's choice",
        "1280 x 720 30/s MJPG",
        "1280 x 720 15/s MJPG",
        "640 x 480 YUYV",
    ]
    with qtbot.waitSignal(box.mode_picked) as picked:
        combo.activated.emit(1)
    assert picked.args == [CameraMode((1280, 720), 30.0, "MJPG")]


def test_other_sources_have_no_controls(qtbot, box):
    box.look_at("test", None)
    qtbot.waitUntil(box.isHidden)
