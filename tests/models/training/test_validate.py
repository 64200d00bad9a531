"""The plain reference of inference, and the figures made with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from br2focus.models import checkpoint
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.evaluation.masks import MaskedFolder
from br2focus.models.training.validate import predict, validate

INFO = ModelInfo("x", BR2NetConfig(), InputScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), size=96)


class Fused(NamedTuple):
    fused: Tensor


class Red(nn.Module):
    """Logits that say how red a pixel is: P = .5 for none, and the sizes that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Fused:
        self.sizes.append(tuple(x.shape))
        return Fused(self.gain * x[:, :1])


def test_the_map_has_the_picture_s_size_and_follows_it() -> None:
    net, image = Red(), np.zeros((90, 150, 3), np.uint8)
    image[:, 75:, 2] = 255  # BGR: red
    p = predict(net, image, INFO)  # type: ignore[arg-type]
    assert p.shape == (90, 150) and p.dtype == np.float32
    np.testing.assert_allclose(p[:, :70], 0.5, atol=1e-6)
    np.testing.assert_allclose(p[:, 80:], 1 / (1 + np.exp(-4)), atol=1e-6)
    (shape,) = net.sizes
    assert max(shape[2:]) <= 96 and shape[3] > shape[2]


def test_a_real_network_gives_probabilities(model: str) -> None:
    net, info = checkpoint.load(Path(model))
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    p = predict(net, image, info)
    assert p.shape == (60, 90) and 0 <= p.min() < p.max() <= 1


def test_figures_are_means_over_the_pairs(tmp_path: Path) -> None:
    folder = MaskedFolder(tmp_path / "images", tmp_path / "masks", "blurred")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index, edge in enumerate((24, 48)):
        mask = np.zeros((48, 96), np.uint8)
        mask[:, edge:] = 255
        cv2.imwrite(str(tmp_path / f"masks/{index}.png"), mask)
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), np.stack([0 * mask, 0 * mask, mask], 2))
    net = Red().train()
    figures = validate(net, INFO, folder, folder.pairs())  # type: ignore[arg-type]
    assert not net.training and len(net.sizes) == 2
    sure = 1 / (1 + np.exp(4))
    expected = np.mean([(edge * 0.5 + (96 - edge) * sure) / 96 for edge in (24, 48)])
    assert figures["mae"] == pytest.approx(expected, abs=0.01)
    assert figures["auc"] == pytest.approx(1, abs=0.01)
