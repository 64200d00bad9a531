"""The viewer driven with keys and mouse, off the screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtTest import QTest

from br2focus.plugins.qt import run_application, theme
from br2focus.plugins.qt import window as window_module
from br2focus.plugins.qt.changes import CHANGES, went_back
from br2focus.plugins.qt.hotkeys import HOTKEYS
from br2focus.plugins.qt.palette import series_colour
from br2focus.plugins.qt.start import Start
from br2focus.plugins.qt.window import Window
from br2focus.realtime.drawing.overlay import draw
from br2focus.realtime.errors import SinkError, SourceError
from br2focus.realtime.frame import Roi
from br2focus.realtime.overlay_style import KINDS
from br2focus.realtime.presets import load_preset, preset_path, save_preset
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.video_writer import VideoWriter
from br2focus.realtime.sources.live.connection import ReconnectPolicy, State
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource

from .conftest import SIZE, Fake, picture_of


def press(window: Window, act: str) -> None:
    """Type the keys of ``act`` on the picture."""
    key = next(hotkey.key for hotkey in HOTKEYS if hotkey.act == act)
    combined = QKeySequence(key)[0]
    QTest.keyClick(window.picture, combined.key(), combined.keyboardModifiers())


def point(window: Window, x: float, y: float) -> QPoint:
    """The widget's point over a picture's."""
    placement = window.picture.placement
    assert placement is not None
    device = placement.to_device(x, y)
    return (QPointF(*device) / window.picture.devicePixelRatioF()).toPoint()


def drag(window: Window, start: tuple[float, float], end: tuple[float, float]) -> None:
    view, left = window.picture, Qt.MouseButton.LeftButton
    QTest.mousePress(view, left, pos=point(window, *start))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    for at in (middle, end):
        QTest.mouseMove(view, point(window, *at))
    QTest.mouseRelease(view, left, pos=point(window, *end))


# --- keys ------------------------------------------------------------------------------------


def test_every_key_does_something_and_no_two_are_the_same(viewer):
    window = viewer()
    actions = {action.objectName(): action for action in window.findChildren(QAction)}
    assert set(CHANGES) <= {hotkey.act for hotkey in HOTKEYS} <= set(actions)
    keys = [QKeySequence(hotkey.key).toString() for hotkey in HOTKEYS]
    assert len(set(keys)) == len(keys) and all(keys)
    pressed = []
    for hotkey in HOTKEYS:
        actions[hotkey.act].triggered.disconnect()  # some open a dialog or close the window
        actions[hotkey.act].triggered.connect(lambda *_, act=hotkey.act: pressed.append(act))
    for hotkey in HOTKEYS:
        press(window, hotkey.act)
    assert pressed == [hotkey.act for hotkey in HOTKEYS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_for_each_overlay(viewer, qtbot, kind):
    window = viewer(overlay="outline" if kind != "outline" else "heat")
    press(window, f"show_{kind.replace('-', '_')}")
    assert window.settings.overlay == kind and window.panel.kind.currentText() == kind

    def painted() -> bool:
        shown = window.picture.shown
        return np.array_equal(shown.picture, draw(shown.result, kind, window.settings.style))

    qtbot.waitUntil(painted)
    qtbot.waitUntil(lambda: (kind.upper() in [b.text for b in window.picture.badges]) == (kind != "none"))
    assert (kind.upper() in [b.text for b in window.picture.badges]) == (kind != "none")


def test_keys_change_the_style_and_the_panel_follows(viewer):
    window = viewer()
    before = window.settings.style
    for act in ("next_colour", "next_ground", "next_levels", "toggle_stripes", "toggle_noise_gate"):
        press(window, act)
    for act in ("more_edges", "more_opaque"):
        press(window, act)
    style = window.settings.style
    assert style.ground == "gray" and style.levels == 2 and style.stripes and not style.noise_gate
    assert style.threshold < before.threshold and style.opacity > before.opacity
    assert style.colour != before.colour
    panel = window.panel
    assert panel.ground.currentText() == "gray" and panel.levels.value() == 2
    assert panel.stripes.isChecked() and not panel.noise_gate.isChecked()


def test_the_panel_changes_the_settings(viewer):
    window = viewer()
    window.panel.kind.setCurrentText("mask")
    window.panel.sensitivity.setValue(100)
    window.panel.smoothing.setCurrentText("off")
    assert window.settings.overlay == "mask" and window.settings.smoothing is None
    assert window.settings.style.threshold == pytest.approx(2)
    window.panel.smoothing.setCurrentText("fixed, 200 ms")
    assert window.settings.smoothing == 0.2
    press(window, "next_smoothing")
    assert window.settings.smoothing == 0.4 and "400" in window.panel.smoothing.currentText()


def test_smoothing_changes_what_runs_and_its_delay_is_in_the_age(viewer, qtbot):
    window = viewer(smoothing=None)
    qtbot.waitUntil(lambda: any("age" in line for line in window.picture.lines))
    assert not any("smoothing" in line for line in window.picture.lines if "age" in line)
    window.panel.smoothing.setCurrentText("fixed, 400 ms")
    qtbot.waitUntil(lambda: any("400 of it smoothing" in line for line in window.picture.lines))
    assert window.figures.age_p95 >= 0.4
    assert window.picture.shown.result.timing.smoothing_delay == 0.4


def test_the_sheet_names_every_key(viewer):
    window = viewer()
    press(window, "toggle_sheet")
    assert window.sheet.isVisible() and window.sheet.size() == window.size()
    window.sheet.grab()
    press(window, "leave")
    assert not window.sheet.isVisible()


def test_views_come_and_go(viewer, qtbot):
    window = viewer()
    for act, widget in (("toggle_graph", window.graph), ("toggle_panel", window.panel)):
        press(window, act)
        assert not widget.isVisible()
        press(window, act)
        assert widget.isVisible()
    press(window, "toggle_hud")
    assert list(window.picture.lines) == []
    press(window, "toggle_clean")
    assert not window.panel.isVisible() and not window.bar.isVisible()
    plain = window.picture.grab().toImage()
    assert not plain.isNull()
    press(window, "leave")
    assert window.panel.isVisible() and not window.picture.clean
    press(window, "toggle_before")
    assert "BEFORE" in [badge.text for badge in window.picture.badges]


# --- zoom ------------------------------------------------------------------------------------


def test_punch_in_shows_the_cameras_own_pixels(viewer, qtbot):
    window = viewer(overlay="none", rois=(Roi("A", 100, 60, 20, 20),))
    window.picture.resize(90, 70)
    window.picture.select("A")
    press(window, "punch_in")
    press(window, "toggle_clean")
    assert window.picture.scale == 1
    ratio = float(os.environ.get("QT_SCALE_FACTOR", "1"))
    assert window.picture.devicePixelRatioF() == ratio
    shown, placement = window.picture.shown, window.picture.placement
    image = window.picture._device_image(shown, placement)
    x, y, width, height = placement.visible()
    memory = image.constBits()
    memory.setsize(image.sizeInBytes())
    pixels = np.frombuffer(memory, np.uint8).reshape(image.height(), -1, 4)[:, : image.width(), :3]
    assert np.array_equal(pixels, shown.result.frame.image[y : y + height, x : x + width])
    press(window, "toggle_clean")
    assert "1:1" in [badge.text for badge in window.picture.badges]


@pytest.mark.parametrize("ratio", ["1.5", "2"])
def test_the_same_holds_on_a_dense_screen(ratio):
    names = ("punch_in_shows_the_cameras_own_pixels", "regions_by_mouse")
    tests = [f"{__file__}::test_{name}" for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env=os.environ | {"QT_SCALE_FACTOR": ratio},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_zoom_and_pan_change_the_view_alone(viewer, qtbot):
    window = viewer(rois=(Roi("A", 10, 10, 30, 30),))
    settings, size = window.settings, window.picture.shown.result.frame.size
    for act in ("zoom_in", "zoom_in", "zoom_in", "pan_right", "pan_down"):
        press(window, act)
    centre = window.picture.centre
    assert window.picture.scale is not None and centre[0] > size[0] / 2 and centre[1] > size[1] / 2
    QTest.mousePress(window.picture, Qt.MouseButton.RightButton, pos=QPoint(200, 200))
    QTest.mouseMove(window.picture, QPoint(260, 200))
    QTest.mouseRelease(window.picture, Qt.MouseButton.RightButton, pos=QPoint(260, 200))
    assert window.picture.centre[0] < centre[0]
    assert window.settings == settings
    press(window, "zoom_fit")
    assert window.picture.scale is None


# --- regions ---------------------------------------------------------------------------------


def test_regions_by_mouse(viewer, qtbot):
    window = viewer()
    drag(window, (20, 30), (60, 80))
    [roi] = window.settings.rois
    assert roi.name == "A" and abs(roi.x - 20) <= 1 and abs(roi.y + roi.height - 80) <= 1
    QTest.mouseClick(window.picture, Qt.MouseButton.LeftButton, pos=point(window, 120, 60))
    assert [r.name for r in window.settings.rois] == ["A", "B"] and window.picture.selected == "B"
    drag(window, (40, 50), (50, 55))
    assert window.settings.rois[0].x == pytest.approx(roi.x + 10, abs=1), "the first was moved"
    assert window.picture.selected == "A"
    qtbot.waitUntil(lambda: {"A", "B"} <= set(window.session.run.scores.series))
    labels = lambda: [window.picture.label(roi) for roi in window.settings.rois]  # noqa: E731
    qtbot.waitUntil(lambda: all("best" in label for label in labels()))
    press(window, "remove_region")
    assert [r.name for r in window.settings.rois] == ["B"]


def test_a_region_lies_under_the_figures(viewer, qtbot):
    window = viewer(rois=(Roi("A", 2, 2, 60, 60),), overlay="none")
    window.picture.resize(640, 480)
    qtbot.waitUntil(lambda: not window.picture._plate.isEmpty())
    grabbed = window.picture.grab().toImage()
    ratio, plate = grabbed.devicePixelRatio(), window.picture._plate.toAlignedRect()

    def coloured(places):
        return any(
            grabbed.pixelColor(round(x * ratio), round(y * ratio)) == series_colour(1) for x, y in places
        )

    inside = [
        (x, y) for x in range(plate.left() + 1, plate.right()) for y in range(plate.top() + 1, plate.bottom())
    ]
    everywhere = [(x, y) for x in range(640) for y in range(480)]
    assert coloured(everywhere) and not coloured(inside)


def test_regions_by_keys(viewer):
    window = viewer()
    for _ in range(2):
        press(window, "add_region")
    first, second = window.settings.rois
    assert first.name == "A" and window.picture.selected == "B"
    press(window, "move_right")
    press(window, "move_up")
    press(window, "grow_region")
    moved = window.settings.rois[1]
    assert moved.x == second.x and moved.width == second.width + 8 and moved.y == second.y - 8
    press(window, "next_region")
    assert window.picture.selected == "A"
    press(window, "remove_regions")
    assert window.settings.rois == ()


def test_the_best_is_held_until_it_is_reset(viewer, qtbot):
    window = viewer(rois=(Roi("A", 0, 0, 40, 40),))
    series = lambda: window.session.run.scores.series.get("A")  # noqa: E731
    qtbot.waitUntil(lambda: series() is not None and series().best is not None)
    best = series().best
    qtbot.waitUntil(lambda: series().last.index > best.index)
    press(window, "reset_best")
    qtbot.waitUntil(lambda: series().best is not None and series().best.index > best.index)


# --- files -----------------------------------------------------------------------------------


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("act", "kinds"),
    [
        ("record_annotated", ["annotated"]),
        ("record_clean", ["clean"]),
        ("record_both", ["annotated", "clean"]),
    ],
)
def test_a_recording_holds_what_was_shown(viewer, qtbot, tmp_path, act, kinds):
    window = viewer(overlay="mask")
    press(window, act)
    qtbot.waitUntil(lambda: window.picture.badges[0].text.startswith("● REC"))
    assert window.bar.record.isChecked()
    first = window.session.run.results
    qtbot.waitUntil(lambda: window.session.run.results > first + 10)
    press(window, act)
    qtbot.waitUntil(lambda: window.banner.text.startswith("Recorded"))
    files = sorted(tmp_path.glob("br2focus-*.mp4"))
    assert [path.stem.rpartition("-")[2] for path in files] == kinds
    assert not list(tmp_path.glob("*.partial*"))
    for path in files:
        frames = frames_of(path)
        assert len(frames) >= 8 and frames[0].shape == (SIZE[1], SIZE[0], 3)
        flat = frames[-1][10:-10, SIZE[0] // 2 + 8 : -16].astype(int)
        assert (abs(flat.mean() - 60) < 4) or path.stem.endswith("annotated")


def test_a_take_goes_on_over_another_source_and_begins_at_0(viewer, qtbot, tmp_path):
    window = viewer(lambda text, _: Fake(text, rate=50, level=100 if text == "second" else 0))
    qtbot.wait(300)
    press(window, "record_clean")
    qtbot.waitUntil(lambda: window.session.takes.seconds is not None)
    qtbot.wait(300)
    window.bar.source.picked.emit("second")
    qtbot.waitUntil(lambda: level_of(window) == 160)
    qtbot.wait(300)
    assert window.session.takes.seconds > 0.5
    press(window, "record_clean")
    qtbot.waitUntil(lambda: window.banner.text.startswith("Recorded"))
    [path] = tmp_path.glob("br2focus-*-clean.mp4")
    with av.open(str(path)) as container:
        frames = [
            (float(f.time), f.to_ndarray(format="bgr24")[60, 100, 0]) for f in container.decode(video=0)
        ]
    assert frames[0][0] == 0 and frames[-1][0] < 10
    assert abs(int(frames[0][1]) - 60) < 5 and abs(int(frames[-1][1]) - 160) < 5


def test_the_end_of_a_source_completes_the_take(viewer, qtbot, tmp_path):
    window = viewer(lambda *_: Fake(count=60, rate=100))
    press(window, "record_annotated")
    qtbot.waitUntil(lambda: window.banner.text.startswith("Recorded"))
    assert len(list(tmp_path.glob("br2focus-*-annotated.mp4"))) == 1
    qtbot.waitUntil(lambda: window.picture.state.startswith("ENDED 00:0"))


def test_a_key_held_down_does_not_flood(viewer):
    window = viewer()
    actions = window.findChildren(QAction)
    repeating = {a.objectName() for a in actions if a.autoRepeat() and a.objectName()}
    assert {"pan_left", "move_up", "more_edges"} <= repeating
    assert not repeating & {"record_annotated", "snapshot", "next_model", "toggle_sheet", "reopen"}


def test_a_recording_that_fails_is_said_and_the_view_goes_on(viewer, qtbot, tmp_path, monkeypatch):
    window = viewer()
    press(window, "record_annotated")
    qtbot.waitUntil(lambda: window.session.takes.seconds is not None)
    monkeypatch.setattr(
        "br2focus.realtime.sinks.video_writer.VideoWriter._write",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    qtbot.waitUntil(lambda: "disk is full" in window.banner.text)
    at = window.session.run.results
    qtbot.waitUntil(lambda: window.session.run.results > at + 5)
    assert window.session.takes.seconds is None
    qtbot.waitUntil(lambda: not window.bar.record.isChecked())


def test_nothing_to_record_is_said(viewer, qtbot):
    window = viewer(lambda *_: Fake(count=0, then_waits=True), waits=False)
    press(window, "record_annotated")
    assert "no picture to record" in window.banner.text
    press(window, "snapshot")
    assert "no picture to keep" in window.banner.text


def test_a_snapshot_holds_four_files(viewer, qtbot, tmp_path):
    window = viewer(overlay="heat", rois=(Roi("face", 10, 10, 40, 40),))
    qtbot.waitUntil(lambda: "face" in window.session.run.scores.series)
    press(window, "snapshot")
    qtbot.waitUntil(lambda: window.banner.text.startswith("Kept"))
    [folder] = tmp_path.glob("br2focus-*-snapshot")
    facts = json.loads((folder / "snapshot.json").read_text())
    assert facts["regions"]["face"]["width"] == 40 and 0 <= facts["regions"]["face"]["sharpness"] <= 1
    assert facts["source"] == "fake" and facts["overlay"] == "heat"
    picture = cv2.imread(str(folder / "picture.png"))
    assert np.array_equal(picture, picture_of(facts["index"]))
    assert cv2.imread(str(folder / "overlay.png")).shape == picture.shape
    blur = cv2.imread(str(folder / "map.png"), cv2.IMREAD_UNCHANGED)
    assert blur.dtype == np.uint16 and blur.shape == picture.shape[:2]


def test_presets_are_saved_and_loaded(viewer, qtbot, monkeypatch):
    window = viewer(rois=(Roi("A", 10, 10, 40, 40),))
    press(window, "show_heat")
    press(window, "next_ground")
    monkeypatch.setattr(window_module, "ask_preset_name", lambda *_: "studio")
    press(window, "save_preset")
    saved = window.settings
    assert load_preset(preset_path("studio")) == saved
    press(window, "show_mask")
    press(window, "remove_regions")
    monkeypatch.setattr(window_module, "ask_preset", lambda *_: "studio")
    press(window, "load_preset")
    assert window.settings == saved and window.picture.rois == saved.rois
    monkeypatch.setattr(window_module, "ask_preset", lambda *_: "gone")
    press(window, "load_preset")
    assert "gone.toml" in window.banner.text and window.settings == saved


# --- sources, models, faults -----------------------------------------------------------------


def test_another_source_is_shown_when_the_first_let_go(viewer, qtbot):
    sources: dict[str, Fake] = {}

    def opened(text: str, options: object) -> Fake:
        if sources:
            assert all(source.closed.is_set() for source in sources.values())
        sources[text] = Fake(text, level=100 if text == "second" else 0)
        return sources[text]

    window = viewer(opened)
    box = window.bar.source
    press(window, "choose_source")
    box.lineEdit().setText("second")
    QTest.keyClick(box.lineEdit(), Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: window.picture.shown is not None and window.picture.shown.result.frame.image[0, 100, 0] == 160
    )
    assert sources["fake"].closed.is_set() and window.picture.lines[0].startswith("second")


def level_of(window: Window) -> int:
    """Of the flat part of the picture that is shown."""
    shown = window.picture.shown
    return -1 if shown is None else int(shown.result.frame.image[0, 100, 0])


def test_what_is_typed_replaces_the_source_and_keys_work_again(viewer, qtbot):
    window = viewer(lambda text, _: Fake(text, level=100 if text == "second" else 0))
    box = window.bar.source
    press(window, "choose_source")
    assert box.lineEdit().hasFocus()
    QTest.keyClicks(box.lineEdit(), "sec")
    assert window.settings.overlay == "peaking" and box.currentText() == "sec", "no shortcuts"
    QTest.keyClick(box.lineEdit(), Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: window.picture.hasFocus())
    assert box.currentText() == "fake"
    press(window, "choose_source")
    QTest.keyClicks(box.lineEdit(), "second")
    QTest.keyClick(box.lineEdit(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: level_of(window) == 160)
    assert window.picture.hasFocus()


def test_arrows_move_the_slider_that_has_the_focus(viewer):
    window = viewer()
    slider = window.panel.opacity
    slider.setFocus()
    value = slider.value()
    QTest.keyClick(slider, Qt.Key.Key_Right)
    assert slider.value() == value + 1


def test_settings_changed_while_sources_change_are_kept(viewer, qtbot):
    window = viewer(lambda text, _: Fake(text, level=100 if text == "second" else 0))
    window.bar.source.picked.emit("second")
    press(window, "show_heat")
    qtbot.waitUntil(lambda: level_of(window) == 160)
    assert window.session.run.settings.overlay == "heat"
    assert window.picture.badges[-1].text == "HEAT"


def test_a_source_that_is_gone_for_good_can_be_opened_again(viewer, qtbot):
    opened = []

    def open_source(*_: object) -> Fake:
        opened.append(1)
        return Fake(count=2, error=SourceError("gone")) if len(opened) == 1 else Fake()

    window = viewer(open_source)
    qtbot.waitUntil(lambda: window.status.state is State.ENDED)
    assert isinstance(window.error, SourceError)
    press(window, "reopen")
    qtbot.waitUntil(lambda: window.status.state is State.RUNNING and not window._first)
    assert window.error is None


def test_regions_side_by_side_and_resized(viewer, qtbot):
    window = viewer(overlay="side-by-side")
    qtbot.waitUntil(lambda: window.picture.shown.picture.shape[1] == 2 * SIZE[0])
    right = point(window, SIZE[0] + 50, 60)
    QTest.mouseClick(window.picture, Qt.MouseButton.LeftButton, pos=right)
    [roi] = window.settings.rois
    assert abs(roi.x + roi.width / 2 - 50) <= 1
    corner = (roi.x + roi.width, roi.y + roi.height)
    drag(window, corner, (corner[0] + 20, corner[1] + 10))
    [larger] = window.settings.rois
    assert (larger.x, larger.y) == (roi.x, roi.y) and abs(larger.width - roi.width - 20) <= 1


def test_light_and_dark(viewer):
    window = viewer()
    dark = theme.is_dark()
    try:
        press(window, "next_theme")
        assert theme.is_dark() != dark
        window.grab()
    finally:
        press(window, "next_theme")
    assert theme.is_dark() == dark


def test_the_clean_view_still_says_that_it_records_and_punches_in(viewer, qtbot):
    window = viewer()
    for act in ("punch_in", "record_clean", "toggle_clean"):
        press(window, act)
    qtbot.waitUntil(lambda: window.session.takes.seconds is not None)
    qtbot.waitUntil(lambda: sum(badge.always for badge in window.picture.badges) == 2)
    press(window, "record_clean")


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_a_bug_in_a_key_is_told_and_ctrl_c_ends_the_loop(viewer, qtbot, error):
    window = viewer()

    class Loop:
        quitted = False

        def exec(self) -> None:
            sys.excepthook(type(error), error, None)

        def quit(self) -> None:
            self.quitted = True

    loop = Loop()
    stopped = run_application(loop, window.bug_found.emit)
    if isinstance(error, KeyboardInterrupt):
        assert stopped is error and loop.quitted
    else:
        assert stopped is None and not loop.quitted
        qtbot.waitUntil(lambda: "a bug in br2focus: KeyError" in window.banner.text)


def test_what_the_start_asked_for_and_could_not_be_written_is_an_error_at_the_end(
    qtbot, model, tmp_path, monkeypatch
):
    settings = ViewSettings(model=model, device="cpu")
    path = tmp_path / "take.mp4"

    def sinks(info, now):
        return [VideoWriter(path, info, render=lambda result: result.frame.image)]

    start = Start("fake", settings, tmp_path, sinks=sinks, open_source=lambda *_: Fake())
    window = Window(start)
    window.show()
    qtbot.waitUntil(lambda: window.session.files.seconds is not None, timeout=30_000)
    monkeypatch.setattr(VideoWriter, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    qtbot.waitUntil(lambda: "disk is full" in window.banner.text)
    window.close()
    with pytest.raises(SinkError, match="disk is full"):
        window.end()


def test_an_address_is_shown_without_its_password(viewer, qtbot):
    window = viewer()
    window.bar.source.picked.emit("rtsp://me:secret@cam/1")
    qtbot.waitUntil(lambda: window.session.source.startswith("rtsp"))
    assert "secret" not in window.bar.source.currentText()
    qtbot.waitUntil(lambda: window.picture.lines[0].startswith("rtsp://***@cam/1"))


def test_another_model_runs_and_one_that_does_not_gives_way(viewer, qtbot, model, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(Path(model).read_bytes())
    window = viewer()
    window.panel.model.addItem(str(other))
    window.panel.model.setCurrentText(str(other))
    qtbot.waitUntil(lambda: window._good is not None and window._good.model == str(other))
    window.panel.device.addItem("cuda")
    window.panel.device.setCurrentText("cuda")
    qtbot.waitUntil(lambda: "no device" in window.banner.text, timeout=20_000)
    qtbot.waitUntil(lambda: window.settings.device == "cpu" and not window._first, timeout=20_000)
    assert window.settings.model == str(other)


def test_a_preset_whose_engine_is_refused_gives_way_to_all_that_was_before(
    viewer, qtbot, monkeypatch, tmp_path
):
    window = viewer(rois=(Roi("A", 10, 10, 40, 40),))
    qtbot.waitUntil(lambda: window._good is not None)
    press(window, "show_heat")
    before = window.settings
    refused = replace(before, backend="onnxruntime", precision="int8", overlay="mask", rois=())
    save_preset(refused, tmp_path / "refused.toml")
    monkeypatch.setattr(window_module, "ask_preset", lambda *_: str(tmp_path / "refused.toml"))
    press(window, "load_preset")
    qtbot.waitUntil(lambda: "is not possible here" in window.banner.text, timeout=20_000)
    qtbot.waitUntil(lambda: window.settings == before and not window._first, timeout=20_000)
    assert window.picture.rois == before.rois and window.error is None


def test_what_was_changed_since_settings_were_refused_stays():
    good = ViewSettings(overlay="heat", rois=(Roi("A", 1, 1, 9, 9),))
    refused = replace(good, model="broken", overlay="mask", rois=())
    now = replace(refused, rois=(Roi("B", 2, 2, 9, 9),))
    assert went_back(now, refused, good) == replace(good, rois=now.rois)


def test_a_lost_source_is_never_an_old_picture_without_a_word(viewer, qtbot):
    opened = []

    def open_source() -> Fake:
        opened.append(1)
        if len(opened) > 1:
            raise SourceError("unplugged")
        return Fake(count=5)

    window = viewer(lambda *_: ReconnectingSource(open_source, "camera x", ReconnectPolicy(first=0.05)))
    qtbot.waitUntil(lambda: window.status.state is State.LOST)
    qtbot.waitUntil(lambda: window.picture.state.startswith("LOST 00:0"))
    assert window.picture.status.reason
    image = window.picture.grab().toImage()
    centre = image.pixelColor(image.width() // 2, image.height() // 2 - 24)
    assert centre.red() > centre.blue(), "the alarm's colour"


def test_a_source_that_fails_is_a_banner(viewer, qtbot):
    window = viewer(lambda *_: Fake(count=3, error=SourceError("camera x: gone; plug it in again")))
    qtbot.waitUntil(lambda: "plug it in again" in window.banner.text)
    qtbot.waitUntil(lambda: window.picture.state.startswith("ENDED"))
    press(window, "leave")
    assert not window.banner.isVisible()


def test_a_slow_window_drops_and_shows_the_newest(viewer, qtbot):
    window = viewer()
    time.sleep(0.5)  # the window's thread is busy
    newest = window.session.run.results
    qtbot.waitUntil(lambda: window.picture.shown.result.frame.index >= newest - 1)
    qtbot.waitUntil(lambda: window.figures.dropped > 0)


def test_what_is_painted_belongs_together(viewer, qtbot):
    window = viewer(overlay="none", smoothing=None)
    seen = []
    for _ in range(10):
        shown = window.picture.shown
        assert shown.result.frame.image[0, -1, 0] == shown.result.frame.index % 256
        assert shown.picture is shown.result.frame.image
        seen.append(shown.result.frame.index)
        qtbot.waitUntil(lambda: window.picture.shown.result.frame.index > seen[-1])
    assert seen == sorted(seen)
