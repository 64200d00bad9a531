"""What every test may use: the folder of data that is not part of the repository, and the GPU mark."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net, BR2NetConfig
from br2focus.models.checkpoint import ModelInfo

SHARED = Path(os.environ.get("BR2FOCUS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data sets and clips; its place is the variable BR2FOCUS_SHARED."""
    if not SHARED.is_dir():
        pytest.skip(f"no data folder at {SHARED} (set BR2FOCUS_SHARED)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Converted models go to a folder of this test run, not to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("BR2FOCUS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint of the shipped kind of network, with random weights."""
    torch.manual_seed(0)
    config = BR2NetConfig(
        backbone="mobilenet_v2", width=8, reduce=8, h2l_tap=2, h2l_shrink="area", fusion="mean"
    )
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    checkpoint.save(BR2Net(config).eval(), ModelInfo("random", config, size=128), path)
    return str(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA GPU, and none is here")
        for item in items:
            if item.get_closest_marker("needs_cuda"):
                item.add_marker(skip)
