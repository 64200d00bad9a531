"""The classical detectors: what they take and give, and that they tell sharp from blurred."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.models.evaluation import classical
from br2focus.models.evaluation.classical import CLASSICAL, Detector
from br2focus.models.evaluation.masks import MaskedFolder
from br2focus.models.evaluation.metrics import auc, measure
from br2focus.models.evaluation.run import evaluate

ALL = [pytest.param(detector, id=name) for name, detector in CLASSICAL.items()]
MEASURING = [p for p in ALL if p.id != "all_blurred"]
SHAPES = [(1, 1), (5, 7), (21, 21), (64, 3), (61, 90)]


@pytest.mark.parametrize(("detector", "shape"), [(d.values[0], s) for d, s in product(ALL, SHAPES)])
def test_contract(detector: Detector, shape: tuple[int, int]):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    image.flags.writeable = False
    blur = detector(image)
    assert blur.dtype == np.float32 and blur.shape == shape
    assert blur.min() >= 0 and blur.max() <= 1  # false for NaN too
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(detector(image), blur)


@pytest.mark.parametrize("detector", ALL)
def test_a_view_gives_what_its_copy_gives(detector: Detector):
    wide = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    view = wide[::2, 5:45]
    np.testing.assert_array_equal(detector(view), detector(view.copy()))


@pytest.mark.parametrize("detector", ALL)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_picture_is_blurred_everywhere(detector: Detector, level: int):
    assert (detector(np.full((50, 70, 3), level, np.uint8)) == 1).all()


@pytest.mark.parametrize("detector", MEASURING)
@pytest.mark.parametrize("turned", [False, True])
def test_the_blurred_half_is_found(detector: Detector, turned: bool):
    image = np.random.default_rng(3).integers(0, 256, (120, 160, 3), np.uint8)
    image[:, 80:] = cv2.GaussianBlur(image, (0, 0), 3)[:, 80:]
    mask = np.zeros((120, 160), np.bool_)
    mask[:, 80:] = True
    if turned:
        image, mask = np.rot90(image), np.rot90(mask)
    blur = detector(np.ascontiguousarray(image))
    assert auc(measure(blur, np.ascontiguousarray(mask))) > 0.9
    assert blur[mask].mean() > 0.7 > 0.3 > blur[~mask].mean()


@pytest.mark.parametrize("detector", MEASURING)
def test_an_even_texture_is_not_spread_out(detector: Detector):
    image = np.random.default_rng(4).integers(0, 256, (120, 160, 3), np.uint8)
    assert detector(image).min() > 0.3


def test_lbp_does_not_take_a_smooth_ramp_for_detail():
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, 45:] = (np.arange(45) * 5)[None, :, None]
    assert (CLASSICAL["lbp"](image) == 1).all()


def test_lbp_patterns_are_those_of_skimage(monkeypatch: pytest.MonkeyPatch):
    feature = pytest.importorskip("skimage.feature")
    monkeypatch.setattr(classical, "LBP_THRESHOLD", 0.0)
    gray = np.random.default_rng(6).random((40, 50)).astype(np.float32)
    bits = classical._neighbours_set(gray)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have integers
        theirs = feature.local_binary_pattern(gray, 8, 1, method="uniform")
    np.testing.assert_array_equal(classical._rare(bits)[1:-1, 1:-1], theirs[1:-1, 1:-1] >= 6)


@pytest.mark.parametrize("detector", ALL)
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_anything_but_a_bgr_picture_is_refused(detector: Detector, image: np.ndarray):
    with pytest.raises(ValueError, match="an image is uint8 H x W x 3"):
        detector(image)


@pytest.mark.parametrize("detector", MEASURING)
def test_better_than_chance_on_photographs(detector: Detector, shared: Path, tmp_path: Path):
    cuhk = shared / "data" / "cuhk"
    names = (cuhk / "dbd_test_xu100.txt").read_text().split()[::10]
    (tmp_path / "some.txt").write_text("\n".join(names))
    folder = MaskedFolder(cuhk / "images", cuhk / "masks", "blurred", names=tmp_path / "some.txt")
    evaluation = evaluate(detector, folder)
    everything = evaluate(CLASSICAL["all_blurred"], folder)
    figures = evaluation.report("", "")["metrics"]
    row = everything.report("", "")["metrics"]
    assert len(evaluation.images) == 10
    assert figures["auc"] > 0.8 and row["auc"] == 0.5
    assert figures["f50_blur"] > row["f50_blur"] and figures["mae"] < row["mae"]
