"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from br2focus.models.training.plots import plot_losses, smooth

Event = dict[str, Any]


def log(count: int, validate_every: int = 10) -> list[Event]:
    events: list[Event] = []
    for i in range(1, count + 1):
        events.append({"iteration": i, "loss": 8 / i**0.3})
        if i % validate_every == 0:
            events[-1]["validation"] = {"mae": 0.3 - 0.001 * i, "auc": None if i == 20 else 0.9}
    return events


def coloured(path: Path) -> int:
    """Pixels that are neither gray nor white: the curves."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return int((np.ptp(picture.astype(int), axis=2) > 60).sum())


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    plot_losses({"one": log(60)}, tmp_path / "one.png")
    plot_losses({"one": log(60), "two {x}": log(40)}, tmp_path / "two.png")
    assert 500 < coloured(tmp_path / "one.png") < coloured(tmp_path / "two.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_validation_is_drawn(tmp_path: Path) -> None:
    plot_losses({"a": log(60)}, tmp_path / "with.png")
    plot_losses({"a": log(60, validate_every=1000)}, tmp_path / "without.png")
    assert coloured(tmp_path / "with.png") > coloured(tmp_path / "without.png") + 300


def test_a_young_run_and_an_empty_one_beside_it(tmp_path: Path) -> None:
    plot_losses({"young": log(1), "empty": []}, tmp_path / "young.svg")
    assert "<svg" in (tmp_path / "young.svg").read_text()


def test_nothing_to_plot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the log is empty"):
        plot_losses({"run": []}, tmp_path / "x.png")


def test_an_unknown_format_leaves_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        plot_losses({"run": log(3)}, tmp_path / "x.xyz")
    assert not (tmp_path / "x.xyz").exists()


def test_smoothing_is_a_moving_mean_that_invents_nothing() -> None:
    values = np.array([1.0, 2, 3, 4, 100])
    assert np.array_equal(smooth(values, 1), values)
    np.testing.assert_allclose(smooth(values, 3), [1.5, 2, 3, 107 / 3, 52])
    np.testing.assert_allclose(smooth(np.full(9, 2.5), 4), 2.5)
    assert smooth(np.array([3.0]), 50) == 3
