"""Curves as pictures: files, figures behind them, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.models.evaluation import curves
from br2focus.models.evaluation.curves import ROC_RATES, Curves, curves_of, mean_roc, plot_curves
from br2focus.models.evaluation.metrics import auc, measure
from br2focus.models.evaluation.run import Evaluation, ImageResult

MASK = np.zeros((20, 20), np.bool_)
MASK[:, 10:] = True


def evaluation(sharpness: float, *, images: int = 2) -> Evaluation:
    rng = np.random.default_rng(5)
    maps = [np.clip(rng.normal(0.5 + sharpness * (MASK - 0.5), 0.2), 0, 1) for _ in range(images)]
    results = [ImageResult(str(i), measure(m.astype(np.float32), MASK)) for i, m in enumerate(maps)]
    return Evaluation(tuple(results), (), 1.0)


def some_curves(sharpness: float) -> Curves:
    return curves_of(evaluation(sharpness))


def test_three_pictures(tmp_path: Path):
    files = plot_curves({"lite": some_curves(0.6), "lbp": some_curves(0.1)}, tmp_path / "new" / "x")
    assert [f.name for f in files] == ["pr.png", "roc.png", "f.png"]
    assert sorted((tmp_path / "new" / "x").iterdir()) == sorted(files)
    for file in files:
        picture = cv2.imread(str(file))
        assert min(picture.shape[:2]) >= 400
        for colour in curves.COLOURS[:2]:  # a line of each model is in each picture
            bgr = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
            assert (picture == bgr).all(axis=2).sum() > 50


def test_the_area_of_the_mean_roc_is_the_mean_auc():
    scores = [image.score for image in evaluation(0.4, images=5).images]
    assert np.trapezoid(mean_roc(scores), ROC_RATES) == pytest.approx(
        np.mean([auc(s) for s in scores]), abs=2e-3
    )


def test_more_models_than_colours(tmp_path: Path):
    many = {f"model {i}": some_curves(0.3) for i in range(9)}
    assert all(file.exists() for file in plot_curves(many, tmp_path))


def test_lines_differ_in_more_than_colour():
    many = {f"model {i}": some_curves(0.3) for i in range(28)}
    styles = [tuple(line.style.values()) for line in curves._lines(many)]
    assert len(set(styles)) == 28
    assert len({dash for _, dash in styles[:4]}) == 4


def test_a_failure_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from matplotlib.figure import Figure

    (tmp_path / "pr.png").write_bytes(b"old")

    def half(self: Figure, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plot_curves({"lite": some_curves(0.6)}, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["pr.png"]
    assert (tmp_path / "pr.png").read_bytes() == b"old"


def test_curves_survive_json():
    curves = some_curves(0.6)
    again = Curves.read(json.loads(json.dumps(curves.rounded())))
    assert again.roc == pytest.approx(curves.roc, abs=1e-4)
    for side in ("blurred", "focused"):
        for ours, theirs in zip(again.pr[side], curves.pr[side], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_no_curve_without_both_classes(tmp_path: Path):
    score = measure(np.ones((4, 4), np.float32), np.ones((4, 4), np.bool_))
    flat = Evaluation((ImageResult("a", score),), (), 1.0)
    with pytest.raises(ValueError, match="no curve"):
        curves_of(flat)
    with pytest.raises(ValueError, match="no evaluation"):
        plot_curves({}, tmp_path)


def test_matplotlib_is_loaded_only_to_draw():
    code = "import br2focus.models.evaluation.curves, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
