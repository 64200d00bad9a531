"""The figures against hand computation and against pysodmetrics.

pysodmetrics asks for opencv-python-headless, which must never lie beside opencv-python: install it
with ``pip install --no-deps pysodmetrics`` (its other needs are scipy and scikit-image).
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.evaluation.metrics import (
    ImageScore,
    auc,
    f50,
    f_measure,
    mean_precision_recall,
    measure,
    precision_recall,
    roc,
    summarise,
)

HALF = np.zeros((8, 8), np.bool_)
HALF[:, 4:] = True
FLOAT = np.float32


def random_cases(count: int) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Maps that hint at their masks. Each P lies inside one bin whether bins are cut or rounded."""
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(count):
        mask = rng.random((23, 31)) < rng.uniform(0.2, 0.8)
        level = np.clip(rng.normal(100 + 60 * mask, 50), 0, 254).astype(int)
        cases.append((((level + 0.25) / 255).astype(FLOAT), mask))
    return cases


@pytest.fixture(scope="module")
def cases() -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    return random_cases(5)


@pytest.fixture(scope="module")
def scores(cases: list[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> list[ImageScore]:
    return [measure(blur, mask) for blur, mask in cases]


def test_pysodmetrics_agrees(cases, scores):  # type: ignore[no-untyped-def]
    oracle = pytest.importorskip("py_sod_metrics", exc_type=ImportError)
    mae = oracle.MAE()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = {"blurred": oracle.Fmeasure(beta=0.3), "focused": oracle.Fmeasure(beta=0.3)}
    for blur, mask in cases:
        mae.step(blur, mask, normalize=False)
        f["blurred"].step(blur, mask, normalize=False)
        f["focused"].step(1 - blur, ~mask, normalize=False)
    ours = summarise(scores)
    assert ours["mae"] == pytest.approx(mae.get_results()["mae"], abs=1e-6)
    for positive, name in (("blurred", "max_f_blur"), ("focused", "max_f_focus")):
        theirs = f[positive].get_results()
        p, r = theirs["pr"]["p"], theirs["pr"]["r"]
        our_p, our_r = mean_precision_recall(scores, positive=positive)  # type: ignore[arg-type]
        # 1 - P of bin b lies in bin 254 - b when it is cut off: the same cuts, one threshold later.
        shift = 0 if positive == "blurred" else 1
        np.testing.assert_allclose(our_p[: 256 - shift], p[shift:], atol=1e-12)
        np.testing.assert_allclose(our_r[: 256 - shift], r[shift:], atol=1e-12)
        assert ours[name] == pytest.approx((1.3 * p * r / (0.3 * p + r + 1e-20)).max(), abs=1e-9)


def test_f_at_one_half_is_the_entry_of_pysodmetrics_for_that_threshold(cases, scores):  # type: ignore[no-untyped-def]
    oracle = pytest.importorskip("py_sod_metrics", exc_type=ImportError)
    for (blur, mask), score in zip(cases, scores, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = oracle.Fmeasure(beta=0.3)
        one.step(blur, mask, normalize=False)
        assert f50(score) == pytest.approx(one.get_results()["fm"]["curve"][255 - 128], abs=1e-12)


def test_auc_is_the_share_of_pairs_ranked_rightly():
    rng = np.random.default_rng(3)
    mask = rng.random((6, 9)) < 0.4
    blur = rng.integers(0, 8, mask.shape).astype(FLOAT) / 255  # many ties
    pairs = list(itertools.product(blur[mask], blur[~mask]))
    right = sum(1.0 if b > s else 0.5 if b == s else 0.0 for b, s in pairs) / len(pairs)
    assert auc(measure(blur, mask)) == pytest.approx(right, abs=1e-12)


def test_auc_of_one_tie_is_one_half():
    assert auc(measure(np.full(HALF.shape, 0.3, FLOAT), HALF)) == 0.5


def test_roc_runs_from_none_to_all():
    false_positive, true_positive = roc(measure(HALF.astype(FLOAT), HALF))
    assert (false_positive[0], true_positive[0]) == (0, 0)
    assert (false_positive[-1], true_positive[-1]) == (1, 1)
    assert false_positive.size == 257


@pytest.mark.parametrize(
    ("blur", "expected"),
    [
        pytest.param(
            np.ones(HALF.shape),
            {
                "mae": 0.5,
                "auc": 0.5,
                "max_f_focus": 0.65 / 1.15,
                "max_f_blur": 0.65 / 1.15,
                "f50_blur": 0.65 / 1.15,
                "iou_blur": 0.5,
                "iou_focus": 0.0,
                "boundary_f": 0.65 / 1.15,
            },
            id="all 1",
        ),
        pytest.param(
            np.zeros(HALF.shape),
            {
                "mae": 0.5,
                "auc": 0.5,
                "max_f_focus": 0.65 / 1.15,
                "max_f_blur": 0.65 / 1.15,
                "f50_blur": 0.0,
                "iou_blur": 0.0,
                "iou_focus": 0.5,
                "boundary_f": 0.0,
            },
            id="all 0",
        ),
        pytest.param(
            HALF,
            {
                "mae": 0.0,
                "auc": 1.0,
                "max_f_focus": 1.0,
                "max_f_blur": 1.0,
                "f50_blur": 1.0,
                "iou_blur": 1.0,
                "iou_focus": 1.0,
                "boundary_f": 1.0,
            },
            id="exact",
        ),
        pytest.param(
            ~HALF,
            {
                "mae": 1.0,
                "auc": 0.0,
                "max_f_focus": 0.65 / 1.15,
                "max_f_blur": 0.65 / 1.15,
                "f50_blur": 0.0,
                "iou_blur": 0.0,
                "iou_focus": 0.0,
                "boundary_f": 0.0,
            },
            id="inverted",
        ),
    ],
)
def test_maps_known_by_hand(blur: NDArray[np.bool_], expected: dict[str, float]):
    assert summarise([measure(blur.astype(FLOAT), HALF)]) == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_precision_and_recall_is_taken_before_f():
    quarter = np.zeros((8, 8), np.bool_)
    quarter[:, 6:] = True
    ones = np.ones((8, 8), FLOAT)
    scores = [measure(ones, HALF), measure(ones, quarter)]
    precision = (0.5 + 0.25) / 2
    assert summarise(scores)["max_f_blur"] == pytest.approx(1.3 * precision / (0.3 * precision + 1))
    each = [1.3 * p / (0.3 * p + 1) for p in (0.5, 0.25)]
    assert summarise(scores)["f50_blur"] == pytest.approx(sum(each) / 2)


def test_iou_pools_pixels():
    small, large = np.ones((1, 2), np.bool_), np.ones((1, 6), np.bool_)
    scores = [measure(np.ones((1, 2), FLOAT), small), measure(np.zeros((1, 6), FLOAT), large)]
    assert summarise(scores)["iou_blur"] == pytest.approx(2 / 8)


@pytest.mark.parametrize(
    ("value", "bin_"),
    [
        (0.0, 0),
        (1.0, 255),
        (0.5, 128),
        (np.nextafter(FLOAT(0.5), FLOAT(0)), 127),
        (np.nextafter(FLOAT(1), FLOAT(0)), 255),
        (127 / 255, 127),
        (128 / 255, 128),
    ],
)
def test_bins(value: float, bin_: int):
    score = measure(np.full((1, 1), value, FLOAT), np.ones((1, 1), np.bool_))
    assert np.flatnonzero(score.blurred).tolist() == [bin_]


@pytest.mark.parametrize("blurred", [True, False])
def test_one_class_has_a_false_alarm_and_no_f(blurred: bool):
    figures = summarise([measure(np.full((4, 4), 0.25, FLOAT), np.full((4, 4), blurred))])
    error = 0.75 if blurred else 0.25
    assert figures == {
        "mae": error,
        "auc": None,
        "max_f_focus": None,
        "max_f_blur": None,
        "f50_blur": None,
        "iou_blur": 0.0 if blurred else None,
        "iou_focus": 0.0 if blurred else 1.0,
        "boundary_f": None,
        "false_alarm": error,
    }


def test_one_class_among_others_counts_in_mae_alone():
    exact, wrong = measure(HALF.astype(FLOAT), HALF), measure(np.ones((8, 8), FLOAT), HALF & False)
    figures = summarise([exact, wrong])
    assert figures["mae"] == 0.5
    assert (figures["auc"], figures["max_f_blur"], figures["f50_blur"]) == (1.0, 1.0, 1.0)
    assert "false_alarm" not in figures


def test_ignored_pixels_change_nothing():
    blur, mask = random_cases(1)[0]
    valid = np.ones_like(mask)
    valid[:, 20:] = False
    whole, part = measure(blur[:, :20], mask[:, :20]), measure(blur, mask, valid)
    spoilt = measure(np.where(valid, blur, 1 - blur).astype(FLOAT), mask ^ ~valid, valid)
    for score in (part, spoilt):
        assert score.mae == pytest.approx(whole.mae, abs=1e-7)
        np.testing.assert_array_equal(score.blurred, whole.blurred)
        np.testing.assert_array_equal(score.focused, whole.focused)
        np.testing.assert_array_equal(score.boundary_blurred, whole.boundary_blurred)


def test_the_boundary_band_is_three_pixels_on_each_side():
    mask = np.zeros((5, 20), np.bool_)
    mask[:, 10:] = True
    score = measure(mask.astype(FLOAT), mask)
    assert (score.boundary_blurred.sum(), score.boundary_focused.sum()) == (15, 15)


def test_what_the_mask_says_at_ignored_pixels_makes_no_edge():
    mask = np.zeros((5, 40), np.bool_)
    mask[:, 10:15] = mask[:, 30:] = True
    valid = np.ones_like(mask)
    valid[:, 10:15] = False
    score = measure(mask.astype(FLOAT), mask, valid)
    assert (score.boundary_blurred.sum(), score.boundary_focused.sum()) == (15, 15)


def test_no_edge_where_the_label_ends():
    mask = np.zeros((5, 30), np.bool_)
    mask[:, 10:] = True
    valid = np.ones_like(mask)
    valid[:, 10:20] = False  # wider than the band: no blurred pixel is near a sharp one
    score = measure(mask.astype(FLOAT), mask, valid)
    assert score.has_both_classes and not score.has_boundary
    assert summarise([score])["boundary_f"] is None


def test_an_empty_detection_has_no_precision():
    precision, recall = precision_recall(measure(np.zeros((8, 8), FLOAT), HALF), positive="blurred")
    assert precision[0] == recall[0] == 0
    assert (precision[-1], recall[-1]) == (0.5, 1)
    assert f_measure(precision, recall)[0] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_values_outside_a_probability_are_refused(value: float):
    blur = np.zeros((4, 4), FLOAT)
    blur[1, 2] = value
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        measure(blur, np.ones((4, 4), np.bool_))


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in size"):
        measure(np.zeros((4, 5), FLOAT), np.ones((5, 4), np.bool_))
    with pytest.raises(ValueError, match="differ in size"):
        measure(np.zeros((4, 4), FLOAT), np.ones((4, 4), np.bool_), np.ones((2, 2), np.bool_))


def test_nothing_to_measure():
    empty = np.zeros((4, 4), np.bool_)
    with pytest.raises(ValueError, match="no valid pixel"):
        measure(np.zeros((4, 4), FLOAT), empty, empty)
    with pytest.raises(ValueError, match="no image"):
        summarise([])
