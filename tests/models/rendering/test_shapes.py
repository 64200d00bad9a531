"""Every kind of thing before the camera: a coverage, the same again, neither nothing nor everything."""

from __future__ import annotations

import numpy as np
import pytest

from br2focus.models.rendering.shapes import COMMON, SHAPES, draw_shape

SEEDS = range(30)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", SHAPES)
class TestKinds:
    def test_is_a_coverage(self, kind: str) -> None:
        for side in (33, 64):
            alpha = draw_shape(side, rng(0), kind)
            assert alpha.shape == (side, side) and alpha.dtype == np.float32
            assert alpha.min() >= 0 and alpha.max() <= 1

    def test_the_same_generator_draws_the_same(self, kind: str) -> None:
        one, other, third = (draw_shape(64, rng(seed), kind) for seed in (5, 5, 6))
        assert (one == other).all()
        assert (one != third).any()

    def test_covers_something_but_not_everything(self, kind: str) -> None:
        shares = [float(draw_shape(64, rng(seed), kind).mean()) for seed in SEEDS]
        assert sum(0.005 < share < 0.95 for share in shares) >= 0.9 * len(SEEDS)

    def test_is_mostly_solid_with_smooth_edges(self, kind: str) -> None:
        alphas = np.stack([draw_shape(64, rng(seed), kind) for seed in SEEDS])
        edge = (alphas > 0) & (alphas < 1)
        assert edge.any()
        assert edge.mean() < 0.3
        assert (alphas == 1).any()


def test_many_kinds_come_without_a_name() -> None:
    assert set(COMMON) < set(SHAPES)
    shares = {round(float(draw_shape(32, rng(seed)).mean()), 2) for seed in range(40)}
    assert len(shares) > 15


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError, match="cloud"):
        draw_shape(32, rng(0), "cloud")
