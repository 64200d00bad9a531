"""A tiny training: a folder of made pictures and a configuration that runs in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from br2focus.models.training.config import TrainingConfig, read_config

TINY = """
name = "tiny"
iterations = 12
batch = 2
size = 64
save_every = 4
validate_every = 6

[data]
images = "images"
masks = "masks"
polarity = "blurred"
ignore = 128
validation = 2

[network]
backbone = "mobilenet_v2"
fusion = "conv"
width = 8
reduce = 8
h2l_tap = 2

[augment]
crop = 64
rotation = 5.0

[optimiser]
warmup = 2
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: losses can be compared exactly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of noise, one side of each smoothed, with a strip that carries no label."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rng = np.random.default_rng(1)
    for index in range(10):
        sharp = rng.integers(0, 256, (72, 96, 3), np.uint8)
        edge = int(rng.integers(24, 72))
        mask = np.zeros((72, 96), np.uint8)
        mask[:, edge:] = 255
        picture = np.where(mask[:, :, None] > 0, cv2.GaussianBlur(sharp, (0, 0), 3), sharp)
        mask[:, edge - 2 : edge + 2] = 128
        cv2.imwrite(str(folder / f"images/{index}.png"), picture)
        cv2.imwrite(str(folder / f"masks/{index}.png"), mask)
    return folder


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def config(config_path: Path) -> TrainingConfig:
    return read_config(config_path)
