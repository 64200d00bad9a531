"""A predictor over a folder: what is measured, timed, skipped and reported."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.evaluation import run
from br2focus.models.evaluation.masks import MaskedFolder, UniformFolder, UnreadableError
from br2focus.models.evaluation.run import evaluate, table

KEYS = ["model", "device", "images", "skipped", "ms_per_image", "metrics"]
METRICS = [
    "mae",
    "auc",
    "max_f_focus",
    "max_f_blur",
    "f50_blur",
    "iou_blur",
    "iou_focus",
    "boundary_f",
]


def exact(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The images of these tests are their own masks."""
    return image[:, :, 0].astype(np.float32) / 255


def constant(value: float):  # type: ignore[no-untyped-def]
    return lambda image: np.full(image.shape[:2], value, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> MaskedFolder:
    """Three images, each its own mask: right half, right quarter, and lower half blurred."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for name, where in (("a", np.s_[:, 8:]), ("b", np.s_[:, 12:]), ("c", np.s_[8:, :])):
            gray = np.zeros((16, 16), np.uint8)
            gray[where] = 255
            assert cv2.imwrite(str(tmp_path / part / f"{name}.png"), gray)
    return MaskedFolder(tmp_path / "images", tmp_path / "masks", "blurred")


def test_the_report_has_the_keys_that_others_read(folder: MaskedFolder):
    report = evaluate(exact, folder).report("lite", "cpu")
    assert list(report) == KEYS
    assert list(report["metrics"]) == METRICS
    assert (report["model"], report["device"]) == ("lite", "cpu")
    assert (report["images"], report["skipped"]) == (3, 0)
    assert report["ms_per_image"] > 0
    assert (report["metrics"]["mae"], report["metrics"]["f50_blur"]) == (0, 1)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_progress_counts_to_the_end(folder: MaskedFolder):
    seen: list[tuple[int, int]] = []
    evaluate(exact, folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_only_the_predictor_is_timed_and_not_its_first_call(
    folder: MaskedFolder, monkeypatch: pytest.MonkeyPatch
):
    clock = 0.0
    costs = iter([100.0, 1.0, 2.0, 6.0])  # the first call loads the model

    def slow(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal clock
        clock += next(costs)
        return exact(image)

    def late(done: int, total: int) -> None:
        nonlocal clock
        clock += 1000

    monkeypatch.setattr(run.time, "perf_counter", lambda: clock)
    assert evaluate(slow, folder, progress=late).ms_per_image == pytest.approx(2000)  # the median


def test_unreadable_files_are_counted_and_named(folder: MaskedFolder):
    (folder.images / "a.png").write_bytes(b"")
    (folder.masks / "c.png").write_bytes(b"x")
    evaluation = evaluate(exact, folder)
    report = evaluation.report("m", "cpu")
    assert (report["images"], report["skipped"]) == (1, 2)
    assert [s.name for s in evaluation.skipped] == ["a", "c"]
    assert "images/a.png" in evaluation.skipped[0].reason
    assert "(2 skipped" in table(report)


def test_nothing_readable_is_an_error(folder: MaskedFolder):
    for path in folder.images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UnreadableError, match="none of 3 images can be read, first: .*a.png"):
        evaluate(exact, folder)


def test_a_fault_of_the_predictor_is_not_a_skipped_image(folder: MaskedFolder):
    def broken(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ValueError("out of order")

    with pytest.raises(ValueError, match="out of order"):
        evaluate(broken, folder)
    with pytest.raises(ValueError, match=r"a: .*outside \[0, 1\]"):
        evaluate(constant(1.5), folder)
    with pytest.raises(ValueError, match="the map of a has the shape"):
        evaluate(lambda image: np.zeros((1, 1, 4, 4), np.float32), folder)


def test_a_small_map_with_a_wrong_value_is_refused_too(folder: MaskedFolder):
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        evaluate(lambda image: np.full((4, 4), 1.1, np.float32), folder)


def test_the_map_is_brought_to_the_size_of_the_mask(folder: MaskedFolder):
    small = evaluate(lambda image: exact(image)[::2, ::2].copy(), folder)
    figures = small.report("m", "cpu")["metrics"]
    assert figures["f50_blur"] == figures["auc"] == 1
    assert 0 < figures["mae"] < 0.05  # bilinear: one soft column on each side of the edge


def test_a_mask_keeps_its_own_size(folder: MaskedFolder):
    gray = np.zeros((32, 32), np.uint8)
    gray[:, 17:] = 255  # an edge that no map of 16 x 16 has
    assert cv2.imwrite(str(folder.masks / "a.png"), gray)
    result = evaluate(exact, folder).images[0]
    assert result.score.blurred.sum() + result.score.focused.sum() == 32 * 32
    assert result.score.blurred.sum() == 32 * 15


def test_rows_begin_with_the_worst(folder: MaskedFolder):
    rows = evaluate(constant(1.0), folder).rows()
    assert [row["name"] for row in rows] == ["b", "a", "c"]
    assert rows[0] == {
        "name": "b",
        "mae": 0.75,
        "auc": 0.5,
        "f50": pytest.approx(1.3 * 0.25 / 1.075),
    }


@pytest.mark.parametrize(("blurred", "error"), [(True, 0.75), (False, 0.25)])
def test_a_folder_of_one_label_reports_false_alarms(folder: MaskedFolder, blurred: bool, error: float):
    evaluation = evaluate(constant(0.25), UniformFolder(folder.images, blurred))
    report = evaluation.report("m", "cpu")
    assert report["metrics"]["false_alarm"] == pytest.approx(error)
    assert list(report["metrics"]) == [*METRICS, "false_alarm"]
    assert report["metrics"]["auc"] is None and "one_class" not in report
    assert evaluation.rows()[0]["f50"] is None


def test_images_of_one_class_are_counted(folder: MaskedFolder):
    assert cv2.imwrite(str(folder.masks / "b.png"), np.zeros((16, 16), np.uint8))
    report = evaluate(exact, folder).report("m", "cpu")
    assert (report["images"], report["one_class"]) == (3, 1)
    assert report["metrics"]["f50_blur"] == 1
    assert "one class only" in table(report)


def test_the_table_is_aligned(folder: MaskedFolder):
    lines = table(evaluate(constant(1.0), folder).report("lite", "cpu")).splitlines()
    names = [line.split("  ")[0] for line in lines]
    assert names == ["model", "device", "images", "ms per image", *METRICS]
    assert len({len(line) - len(line[13:].lstrip()) for line in lines}) == 1
    assert any(line.split() == ["auc", "0.5000"] for line in lines)


def test_the_table_shows_undefined_figures_as_a_dash(folder: MaskedFolder):
    report = evaluate(constant(0.25), UniformFolder(folder.images, blurred=True)).report("m", "cpu")
    assert any(line.split() == ["auc", "-"] for line in table(report).splitlines())
