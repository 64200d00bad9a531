"""The stage in an OpenCV loop: every kind of array, no thread, no video library, the examples."""

import runpy
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.plugins.opencv import FocusStage

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def stage(model):
    with FocusStage(model, device="cpu") as made:
        yield made


def picture(height=96, width=128) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def test_result_has_the_frame_s_size_and_ranges(stage):
    result = stage(picture())
    assert result.blur.shape == result.in_focus.shape == (96, 128)
    assert result.blur.dtype == np.float32 and result.in_focus.dtype == bool
    assert 0 <= result.blur.min() <= result.blur.max() <= 1
    assert np.array_equal(result.in_focus, result.blur < 0.5)


def test_every_kind_of_array_gives_the_same_map(stage):
    bgr = picture()
    want = stage(bgr).blur
    wide = np.zeros((96, 256, 3), np.uint8)
    wide[:, ::2] = bgr
    bgra = cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
    locked = bgr.copy()
    locked.flags.writeable = False
    for image in (wide[:, ::2], bgra, locked, cv2.UMat(bgr), np.asfortranarray(bgr)):
        assert np.array_equal(stage(image).blur, want)
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    threefold = stage(cv2.merge([gray] * 3)).blur
    assert np.array_equal(stage(gray).blur, threefold)
    assert np.array_equal(stage(gray[:, :, None]).blur, threefold)


def test_the_caller_s_array_is_left_alone(stage):
    bgr = picture()
    before = bgr.copy()
    drawn = stage(bgr).overlay("heat")
    drawn[:] = 0
    assert bgr.flags.writeable and np.array_equal(bgr, before)


def test_a_reused_buffer_does_not_reach_an_earlier_result(stage):
    buffer = picture()
    want = buffer.copy()
    result = stage(buffer)
    buffer[:] = 0
    assert np.array_equal(result.overlay("none"), want)


@pytest.mark.parametrize("kind", ["peaking", "heat", "mask", "outline", "none"])
def test_overlays(stage, kind):
    drawn = stage(picture()).overlay(kind)
    assert drawn.shape == (96, 128, 3) and drawn.flags.writeable


def test_score_is_the_mean_of_what_is_in_focus(stage):
    result = stage(picture())
    assert result.score() == pytest.approx(1 - result.blur.mean(), abs=1e-5)
    part = result.blur[10:30, 20:60]
    assert result.score((20, 10, 40, 20)) == pytest.approx(1 - part.mean(), abs=1e-5)
    assert result.score((-50, -50, 500, 500)) == pytest.approx(result.score(), abs=1e-5)
    with pytest.raises(ValueError, match="outside"):
        result.score((500, 10, 5, 5))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(stage, image):
    with pytest.raises(ValueError, match="a frame"):
        stage(image)


def test_smoothing_needs_reset_between_clips(model):
    with FocusStage(model, device="cpu", smoothing=0.5) as stage:
        bright = picture()
        moved = np.roll(bright, 8, axis=1)
        raw = stage(bright, seconds=0).blur
        stage.reset()
        stage(moved, seconds=1.0)
        smoothed = stage(bright, seconds=1.03).blur
        stage.reset()
        assert np.array_equal(stage(bright, seconds=2.0).blur, raw)
        assert not np.array_equal(smoothed, raw)


def test_no_thread_and_no_video_library(model):
    code = (
        "import sys, threading, numpy as np\n"
        "from br2focus.plugins.opencv import FocusStage\n"
        f"stage = FocusStage({model!r}, device='cpu')\n"
        "stage(np.zeros((40, 40, 3), np.uint8))\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('av', 'PyQt6')]\n"
        "assert not bad, bad\n"
        "assert not {'capture', 'infer'} & {t.name for t in threading.enumerate()}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("example", "clip", "target"),
    [
        ("annotate_loop", "rack_focus_button.mp4", "peaking.mp4"),
        ("sharpest_frame", "rack_focus_button.mp4", "best.png"),
        ("focused_detections", "macro_grass.mp4", "boxes.png"),
    ],
)
def test_examples_run_on_real_clips(shared, tmp_path, capsys, example, clip, target):
    main = runpy.run_path(str(EXAMPLES / f"{example}.py"))["main"]
    main(str(shared / "video" / clip), str(tmp_path / target))
    assert target in capsys.readouterr().out
    capture = cv2.VideoCapture(str(tmp_path / target))
    ok, image = capture.read()
    assert ok and image.std() > 5


@pytest.mark.parametrize("smoothing", ["look-ahead", "look-ahead:2"])
def test_a_stage_does_not_know_the_next_frames(smoothing):
    with pytest.raises(ValueError, match="choose 'adaptive'"):
        FocusStage(smoothing=smoothing)
