"""What every test may use: the folder of data that is not part of the repository, and the GPU mark."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get("BR2FOCUS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data sets and clips; its place is the variable BR2FOCUS_SHARED."""
    if not SHARED.is_dir():
        pytest.skip(f"no data folder at {SHARED} (set BR2FOCUS_SHARED)")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA GPU, and none is here")
        for item in items:
            if item.get_closest_marker("needs_cuda"):
                item.add_marker(skip)
