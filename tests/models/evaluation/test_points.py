"""Labelled points of footage, and focal stacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from br2focus.models.evaluation.masks import UnreadableError
from br2focus.models.evaluation.points import disc_mean, judge_points, read_points
from br2focus.models.evaluation.stacks import contrast, judge_stack
from br2focus.models.rendering.stack import render_stack
from br2focus.models.sizes import regions

HEAD = "frame_id,source,second,width,height,x,y,radius,label,texture,note\n"
ROWS = "a,clip.mp4,0.5,100,80,10,20,5,F,1,a hair\na,clip.mp4,0.5,100,80,60,40,9,B,0,wall\n"


def lists(folder: Path, rows: str = ROWS, pairs: str = "a,0,1\n") -> tuple[Path, Path]:
    points, ordered = folder / "points.csv", folder / "pairs.csv"
    points.write_text(HEAD + rows)
    ordered.write_text("frame_id,sharper_index,softer_index\n" + pairs)
    return points, ordered


def test_points_are_read_by_frame(tmp_path: Path) -> None:
    [frame] = read_points(*lists(tmp_path)).values()
    assert frame.size == (100, 80) and frame.second == 0.5 and not frame.still
    assert [p.label for p in frame.points] == ["F", "B"] and frame.pairs == [(0, 1)]
    assert frame.points[0].thin and not frame.points[1].thin and not frame.points[1].textured


@pytest.mark.parametrize(
    ("rows", "pairs", "said"),
    [
        ("a,clip.mp4,0.5,100,80,10,20,5,Q,1,\n", "", "line 2: label 'Q'"),
        ("a,clip.mp4,0.5,100,80,ten,20,5,F,1,\n", "", "line 2"),
        (ROWS, "a,0,7\n", "pairs.csv, line 2: a has 2 points"),
        (ROWS, "b,0,1\n", "pairs.csv, line 2"),
        ("", "", "no point"),
        ("a,clip.mp4", None, "points.csv: no column 'width'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, rows: str, pairs: str | None, said: str) -> None:
    points, ordered = lists(tmp_path, rows, pairs or "")
    if pairs is None:
        points.write_text("frame_id,source,second\n" + rows)
    with pytest.raises(UnreadableError, match=said):
        read_points(points, ordered)


def test_a_disc_counts_in_pixels_of_its_frame(tmp_path: Path) -> None:
    point = read_points(*lists(tmp_path))["a"].points[0]
    blur = np.ones((80, 100), np.float32)
    blur[15:26, 5:16] = 0
    assert disc_mean(blur, point, (100, 80)) == 0
    assert disc_mean(np.ascontiguousarray(blur[::2, ::2]), point, (100, 80)) < 0.1
    assert disc_mean(blur, point._replace(x=90), (100, 80)) == 1


def test_figures_of_points(tmp_path: Path) -> None:
    rows = ROWS + "b,clip.mp4,1,100,80,1,1,20,F,1,\nb,clip.mp4,1,100,80,9,9,20,B,1,\n"
    frames = read_points(*lists(tmp_path, rows, "a,0,1\nb,0,1\n"))
    report = judge_points(frames, {"a": [0.2, 0.9], "b": [0.6, 0.6]})
    assert report["points_auc"] == pytest.approx(3.5 / 4)
    assert report["focus_found"] == 0.5 and report["blur_found"] == 1.0
    assert report["balanced"] == 0.75 and report["thin_found"] == 1.0 and report["pairs"] == 0.75
    assert report["count"] == {"frames": 2, "F": 2, "B": 2, "thin": 1, "pairs": 2}
    assert sum(row["points"] for row in report["reliability"]) == 4
    assert judge_points(frames, {"a": [0.9, 0.1], "b": [0.9, 0.1]})["points_auc"] == 0


def test_a_stack_is_judged_by_its_best_slices() -> None:
    scores = [[0.1, 0.5, 0.9], [0.9, 0.51, 0.2], [0.2, 0.1, 0.1]]
    report = judge_stack(scores, [1, 0, 2])
    assert report["best"] == [1, 1, 0] and report["exact"] == pytest.approx(1 / 3)
    assert report["within_1"] == pytest.approx(2 / 3) and report["plateau"] == pytest.approx(4 / 3)


def test_regions_cover_the_picture() -> None:
    seen = np.zeros((101, 203), int)
    for x, y, w, h in regions(203, 101):
        seen[y : y + h, x : x + w] += 1
    assert (seen == 1).all() and len(regions(203, 101)) == 48


def test_contrast_finds_the_sharp_slice_of_a_rendered_stack() -> None:
    stack = render_stack(5, width=384, height=288, slices=5, step=2.0, noise=0.5)
    report = judge_stack([contrast(picture) for picture in stack.slices], stack.best)
    assert report["exact"] > 0.7 and report["within_1"] > 0.8
