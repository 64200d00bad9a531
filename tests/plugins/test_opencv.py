"""The stage in an OpenCV loop: every kind of array, no thread, no video library, the examples."""

import asyncio
import itertools
import runpy
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from br2focus.plugins.opencv import FocusResult, FocusStage

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


def test_pictures_of_other_libraries_give_the_same_map(stage):
    bgr = picture()
    want = stage(bgr).blur
    for image in (Image.fromarray(bgr[:, :, ::-1]), bgr / 255, bgr.astype(np.uint16) * 257):
        assert np.array_equal(stage(image).blur, want)
    assert np.array_equal(stage(bgr[:, :, ::-1], rgb=True).blur, want)
    with pytest.raises(ValueError, match="a frame"):
        stage(np.zeros((4, 4, 2), np.uint8))


def test_scores_of_a_detector_s_boxes(stage):
    result = stage(picture())
    boxes = np.array([[20, 10, 60, 30], [-50, -50, 500, 500], [19.6, 10.2, 59.1, 29.5]])
    found = result.scores(boxes)
    want = [result.score((20, 10, 40, 20)), result.score(), result.score((19, 10, 41, 20))]
    assert found.dtype == np.float64 and found.tolist() == want
    sized = boxes.copy()
    sized[:, 2:] -= sized[:, :2]
    assert result.scores(sized.tolist(), format="xywh").tolist() == pytest.approx(want)
    assert np.array_equal(result.scores(torch.tensor(boxes)), found)
    assert result.scores(np.zeros((0, 4))).shape == result.scores([]).shape == (0,)


@pytest.mark.parametrize(
    "box", [(500, 10, 600, 20), (60, 30, 20, 10), (5, 5, 5, 9), (np.nan, 0, 9, 9), (-9, -9, 0, 0)]
)
def test_a_box_without_a_pixel_has_no_score_and_is_no_error(stage, box):
    found = stage(picture()).scores([(0, 0, 9, 9), box])
    assert np.isfinite(found[0]) and np.isnan(found[1])


def test_what_are_no_boxes_is_refused(stage):
    result = stage(picture())
    with pytest.raises(ValueError, match="N x 4"):
        result.scores([1, 2, 3, 4])
    with pytest.raises(ValueError, match="'xyxy' or 'xywh', got 'cxcywh'"):
        result.scores([(1, 2, 3, 4)], format="cxcywh")


def test_threads_may_share_a_stage(model):
    frames = [np.roll(picture(), 5 * number, axis=1) for number in range(8)]
    with FocusStage(model, device="cpu", refine="fast") as stage:
        want = [stage(frame).blur for frame in frames]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                found = pool.map(stage, frames)
                assert all(np.array_equal(f.blur, w) for f, w in zip(found, want, strict=True))


FORKED = """
import multiprocessing, os, sys
import numpy as np
from br2focus.plugins.opencv import FocusResult, FocusStage

model, backend = sys.argv[1:]
frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
stage = FocusStage(model, device="cpu", backend=backend, precision="fp32", refine="fast")
want = stage(frame).blur

def right(_=None):
    return bool(np.abs(stage(frame).blur - want).max() < 1e-4)

process = os.fork()
if process == 0:
    stage.reset()
    os._exit(0 if right() and right() else 1)
assert os.waitpid(process, 0)[1] == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(right, range(4)) == [True] * 4
assert right()
stage.close()
"""


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_a_stage_made_before_a_fork_works_after_it(model, backend):
    subprocess.run([sys.executable, "-c", FORKED, model, backend], check=True, timeout=120)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_is_named_by_any_kind_of_path(model, kind):
    with FocusStage(kind(model), device="cpu") as stage:
        assert stage(picture()).blur.shape == (96, 128)


def test_the_async_form_keeps_the_order_of_its_calls(model):
    frames = [np.roll(picture(), 5 * number, axis=1) for number in range(6)]

    async def all_of(stage: FocusStage) -> list[FocusResult]:
        return await asyncio.gather(*(stage.run(frame) for frame in frames))

    with FocusStage(model, device="cpu", smoothing=0.5) as stage:
        want = [stage(frame) for frame in frames]
        stage.reset()
        found = asyncio.run(all_of(stage))
    for number, (result, wanted) in enumerate(zip(found, want, strict=True)):
        assert result.frame.index == number and np.array_equal(result.blur, wanted.blur)
    assert not [t for t in threading.enumerate() if t.name.startswith("focus-stage")]


def test_an_error_of_the_async_form_reaches_who_awaits_it(stage):
    with pytest.raises(ValueError, match="str"):
        asyncio.run(stage.run("a name"))


def test_a_batch_gives_the_maps_of_single_calls_in_order(model):
    frames = [np.roll(picture(), 5 * number, axis=1) for number in range(8)]
    with FocusStage(model, device="cpu", backend="openvino", precision="fp32", refine="fast") as stage:
        want = [stage(frame).blur for frame in frames]
        found = list(stage.batch(iter(frames)))
        again = list(stage.batch([frame[:, :, ::-1] for frame in frames], rgb=True))
    for results in (found, again):
        assert [result.frame.index for result in results] == list(range(8))
        assert all(np.allclose(r.blur, w, atol=1e-4) for r, w in zip(results, want, strict=True))
    assert float(found[3].frame.seconds) == pytest.approx(3 / 30)


def test_a_batch_left_early_leaves_no_thread(model):
    with FocusStage(model, device="cpu") as stage:
        results = stage.batch(picture() for _ in range(100))
        next(results)
        results.close()
        assert not {"capture", "infer"} & {t.name for t in threading.enumerate()}


def test_batches_may_overlap_and_outlive_a_close(model):
    frames = [np.roll(picture(), 5 * number, axis=1) for number in range(6)]
    with FocusStage(model, device="cpu", backend="openvino", precision="fp32") as stage:
        want = [stage(frame).blur for frame in frames]
        first, second = stage.batch(frames), stage.batch(frames[::-1])
        a, b = [next(first)], [next(second)]
        stage.close()
        a, b = [*a, *first], [*b, *second]
    assert all(np.allclose(r.blur, w, atol=1e-4) for r, w in zip(a, want, strict=True))
    assert all(np.allclose(r.blur, w, atol=1e-4) for r, w in zip(b, want[::-1], strict=True))
    assert not stage._idle, "engines of batches that ended after the close are closed"


def test_the_event_loop_goes_on_while_a_frame_is_computed(model, monkeypatch):
    stage, gaps = FocusStage(model, device="cpu"), []
    plain = FocusStage._computed
    monkeypatch.setattr(FocusStage, "_computed", lambda *a: (time.sleep(0.2), plain(*a))[1])

    async def ticks() -> None:
        for _ in range(8):
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - begun)

    async def both() -> None:
        buffer = picture()
        tasks = [asyncio.create_task(stage.run(buffer)), asyncio.create_task(stage.run(buffer))]
        await asyncio.sleep(0)
        buffer[:] = 0  # the caller may reuse it
        results, _ = await asyncio.gather(asyncio.gather(*tasks), ticks())
        assert np.array_equal(results[0].frame.image, picture())

    stage(picture())
    asyncio.run(both())
    stage.close()
    assert sorted(gaps)[len(gaps) // 2] < 0.1, "the loop stood still"


def test_a_stage_gives_the_maps_of_a_pipeline(model):
    frames = [picture(400, 600)]
    with FocusStage(model, device="cpu", backend="torch", refine="best") as stage:
        [piped] = stage.batch(frames)
        assert np.array_equal(stage(frames[0]).blur, piped.blur)


def test_an_annotator_for_supervision(model):
    sv = pytest.importorskip("supervision", reason="the extra bench is not installed")
    annotator = runpy.run_path(str(EXAMPLES / "focus_annotator.py"))["FocusAnnotator"]
    scene = picture()
    boxes = np.array([[10, 20, 50, 60], [500, 500, 600, 600]], np.float32)  # the second is outside
    with FocusStage(model, device="cpu") as stage:
        drawn = annotator(stage, in_focus=0).annotate(scene.copy(), sv.Detections(xyxy=boxes))
    changed = (drawn != scene).any(-1)
    assert changed[20:60, 10].mean() > 0.8 and not changed[:, 60:].any()


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


def test_smoothing_without_times_counts_calls(model, monkeypatch):
    """A slow loop, such as one frame a second, is smoothed like a fast one."""
    frames = [picture(), np.roll(picture(), 8, axis=1), picture()]
    with FocusStage(model, device="cpu", smoothing=0.5, rate=20) as stage:
        want = [stage(frame, seconds=index / 20).blur for index, frame in enumerate(frames)]
        stage.reset()
        monkeypatch.setattr("time.monotonic", itertools.count(0, 5).__next__)
        found = [stage(frame).blur for frame in frames]
        monkeypatch.undo()
        raw = stage(frames[2], seconds=1000).blur
    assert all(np.array_equal(f, w) for f, w in zip(found, want, strict=True))
    assert not np.array_equal(found[2], raw)
    with pytest.raises(ValueError, match="rate"):
        FocusStage(model, rate=0)


def test_no_thread_and_no_video_library(model):
    code = (
        "import sys, threading, numpy as np\n"
        "from br2focus.plugins.opencv import FocusResult, FocusStage\n"
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
