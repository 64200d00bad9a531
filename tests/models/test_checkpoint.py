"""Checkpoints: exact round trips, strict errors, and nothing that could run code."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.errors import CheckpointError, FocusError

CONFIG = BR2NetConfig(backbone="mobilenet_v2", width=4, reduce=8, fusion="conv", h2l_tap=2)
INFO = ModelInfo("tiny", CONFIG, InputScale((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), size=96, data="none")


def half_net(config: BR2NetConfig = CONFIG) -> BR2Net:
    """A random network whose every value is a float16."""
    torch.manual_seed(2)
    return BR2Net(config).half().float().eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(half_net(), INFO, path)
    return path


def test_round_trip_is_exact(saved: Path) -> None:
    net, info = checkpoint.load(saved)
    assert info == INFO
    assert not net.training
    state = net.state_dict()
    for key, tensor in half_net().state_dict().items():
        assert torch.equal(state[key], tensor), key
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(net(x).fused, half_net()(x).fused)


def test_a_loaded_network_can_be_trained_and_saved_again(saved: Path, tmp_path: Path) -> None:
    net, info = checkpoint.load(saved)
    net.train()(torch.randn(2, 3, 64, 64)).fused.mean().backward()
    assert net.l2h_start.weight.grad is not None
    checkpoint.save(net, info, tmp_path / "again.safetensors")
    assert checkpoint.load(tmp_path / "again.safetensors")[1] == INFO


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    before = torch.get_rng_state()
    checkpoint.load(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_saving_leaves_one_complete_file(saved: Path) -> None:
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    assert {t.dtype for t in load_file(saved).values()} == {torch.float16}


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    true_sync, true_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        size = path.stat().st_size // 1000
        events.append(f"sync {path.name} of {size} kB" if path.is_file() else "sync the folder")
        true_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        events.append(f"{path.name} becomes {target.name}")
        return true_replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    checkpoint.write_tensors({"a": torch.zeros(1000)}, tmp_path / "a", {"key": "value"})
    named = "a.partial becomes a"
    assert events == ["sync a.partial of 4 kB", named, "sync the folder"]


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.write_tensors({"a": torch.ones(3)}, path, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.safetensors: cannot be written .*File too large"):
            checkpoint.write_tensors({"a": torch.zeros(10_000)}, path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert torch.equal(load_file(path)["a"], torch.ones(3))


def test_values_outside_float16_are_not_written(tmp_path: Path) -> None:
    net = half_net()
    net.cam[0].excite[0].weight.data[0] = 1e6  # type: ignore[index, union-attr]
    path = tmp_path / "big.safetensors"
    with pytest.raises(CheckpointError, match=r"not finite in float16.*cam\.0\.excite\.0\.weight"):
        checkpoint.save(net, INFO, path)
    assert not list(tmp_path.iterdir())


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"br2focus": INFO.to_json()})


def test_missing_unknown_and_misshapen_tensors_are_named(saved: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["fuse.extra"] = tensors.pop("fuse.bias")
        tensors["h2l_start.weight"] = torch.zeros(1, 9, 1, 1)

    rewrite(saved, change)
    with pytest.raises(CheckpointError) as raised:
        checkpoint.load(saved)
    text = str(raised.value)
    assert str(saved) in text
    assert "1 tensors missing ['fuse.bias']" in text
    assert "1 unknown ['fuse.extra']" in text
    assert "1 of another shape ['h2l_start.weight']" in text


@pytest.mark.parametrize("config", [{"width": 5}, {"attention": "bam"}, {"fusion": "mean"}])
def test_weights_of_another_configuration_are_refused(tmp_path: Path, config: Any) -> None:
    path = tmp_path / "other.safetensors"
    checkpoint.save(half_net(), replace(INFO, config=replace(CONFIG, **config)), path)
    with pytest.raises(CheckpointError, match="not the network of its header"):
        checkpoint.load(path)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("these are not weights\n" * 100)


def break_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8:12] = b"\xff\xfe{{"
    path.write_bytes(bytes(data))


def huge_header(path: Path) -> None:
    """100,000 tensors: 6 MB of valid JSON."""
    entry = {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"tensor.{i}": entry for i in range(100_000)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize("damage", [truncate, empty, text, break_header, huge_header])
def test_a_damaged_file_is_refused(saved: Path, damage: Callable[[Path], None]) -> None:
    damage(saved)
    with pytest.raises(CheckpointError, match="tiny.safetensors: (not a safetensors|damaged)"):
        checkpoint.load(saved)


def test_a_header_over_the_limit_is_not_read(saved: Path) -> None:
    tensors = load_file(saved)
    save_file(tensors, saved, metadata={"br2focus": INFO.to_json(), "junk": "x" * (1 << 20)})
    with pytest.raises(CheckpointError, match=r"not a safetensors checkpoint \(header of 1\d{6}"):
        checkpoint.load(saved)


@pytest.mark.parametrize("where", ["missing.safetensors", "."])
def test_a_path_that_cannot_be_read(tmp_path: Path, where: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(tmp_path / where)


class Attack:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, protocol: int) -> None:
    proof, path = tmp_path / "executed", tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Attack(proof), protocol))
    with pytest.raises(CheckpointError, match="not a safetensors checkpoint"):
        checkpoint.load(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())
    assert proof.exists(), "the attack itself does not work: nothing was tested"


def test_a_torch_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    torch.save(half_net().state_dict(), path)
    with pytest.raises(CheckpointError, match="not a safetensors checkpoint"):
        checkpoint.load(path)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(half_net().state_dict(), path)
    with pytest.raises(CheckpointError, match="no br2focus header"):
        checkpoint.load(path)


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"polarity": "focused"}, "polarity 'focused'"),
    ({"version": 2}, "version 2"),
    ({"author": "x"}, "author"),
    ({"size": "large"}, "size = 'large'"),
    ({"size": -1}, "size = -1"),
    ({"config": {"backbone": "alexnet"}}, "backbone = 'alexnet'"),
    ({"config": {"depth": 3}}, "depth"),
    ({"config": {"width": "8"}}, "width = '8'"),
    ({"config": {"width": 10**12}}, "width = 1000000000000"),
    ({"config": []}, "not one of br2focus"),
    ({"scale": {"mean": [0.5], "std": [0.5, 0.5, 0.5]}}, "three means"),
    ({"scale": {"mean": [0, 0, 0], "std": [0, 1, 1]}}, "above 0"),
    ({"scale": {"gain": [1, 1, 1]}}, "gain"),
    ({"scale": 0.5}, "not one of br2focus"),
]


@pytest.mark.parametrize(("change", "expected"), HEADERS, ids=[str(c) for c, _ in HEADERS])
def test_a_wrong_header_is_refused(saved: Path, change: dict[str, Any], expected: str) -> None:
    header = json.dumps(asdict(INFO) | change)
    save_file(load_file(saved), saved, metadata={"br2focus": header})
    with pytest.raises(CheckpointError) as raised:
        checkpoint.load(saved)
    assert expected in str(raised.value)
    assert str(saved) in str(raised.value)


@pytest.mark.parametrize("header", ["", "{", "[]", "3", "{}", '"version"', "[" * 100_000])
def test_a_header_that_is_no_object_is_refused(header: str) -> None:
    with pytest.raises(CheckpointError, match="not one of br2focus"):
        ModelInfo.from_json(header)


def test_header_round_trip() -> None:
    assert ModelInfo.from_json(INFO.to_json()) == INFO


# Shipped models: a package of weights made for the test.


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "weights_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    checkpoint.save(half_net(), INFO, folder / "tiny.safetensors")
    digest = checkpoint.sha256(folder / "tiny.safetensors")
    (folder / "SHA256SUMS").write_text(f"{digest}  tiny.safetensors\n{'0' * 64}  gone.safetensors\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(checkpoint, "SHIPPED", folder.name)
    yield folder
    sys.modules.pop(folder.name, None)


def test_a_shipped_model_is_found_by_name(weights: Path) -> None:
    path, digest = checkpoint.find("tiny")
    assert path == weights / "tiny.safetensors"
    assert digest == checkpoint.sha256(path)
    assert checkpoint.load(path)[1].name == "tiny"


def test_one_flipped_bit_is_noticed(weights: Path) -> None:
    path = weights / "tiny.safetensors"
    data = bytearray(path.read_bytes())
    before = checkpoint.sha256(path)
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="tiny.safetensors is damaged") as raised:
        checkpoint.find("tiny")
    assert before in str(raised.value)
    assert checkpoint.sha256(path) in str(raised.value)


def test_a_shipped_file_that_is_gone(weights: Path) -> None:
    with pytest.raises(CheckpointError, match="gone.safetensors are missing: reinstall"):
        checkpoint.find("gone")


def test_an_unknown_name_lists_the_known_ones(weights: Path) -> None:
    with pytest.raises(FocusError, match=r"no model 'huge'.* one of tiny, gone"):
        checkpoint.find("huge")


def test_a_file_is_found_by_path(weights: Path, saved: Path) -> None:
    assert checkpoint.find(saved) == (saved, checkpoint.sha256(saved))
    assert checkpoint.find(str(saved))[0] == saved


# No code path of the product may execute data.

PRODUCT = ("models", "realtime", "plugins")
BANNED_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
BANNED_CALLS = {"eval", "exec", "torch.load", "yaml.load", "os.system", "os.popen"}


def dangers(source: str) -> list[str]:
    """Calls and imports in ``source`` that can run code out of data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            names = [f"{module}.{alias.name}" for alias in node.names]
            found += [n for n in names if module in BANNED_MODULES or n in BANNED_CALLS]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            true = {
                word.arg
                for word in node.keywords
                if isinstance(word.value, ast.Constant) and word.value.value is True
            }
            harmless = called == "torch.load" and "weights_only" in true
            found += [called] if called in BANNED_CALLS and not harmless else []
            found += [f"{word}=True" for word in ("shell", "allow_pickle") if word in true]
    return found


def test_the_product_executes_no_data() -> None:
    root = Path(__file__).parents[2]
    files = [path for folder in PRODUCT for path in sorted((root / folder).rglob("*.py"))]
    assert len(files) > 10
    assert {str(f): d for f in files if (d := dangers(f.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "yaml.load(text)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(command, shell=True)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert dangers(line)


def test_the_search_knows_what_is_harmless() -> None:
    assert not dangers("net.eval()\napp.exec()\nnp.load(path)\nrun(c, shell=False)  # not pickle")
    assert not dangers("torch.load(path, weights_only=True)")


def test_a_path_may_be_text(saved: Path, tmp_path: Path) -> None:
    net, info = checkpoint.load(str(saved))
    checkpoint.save(net, info, str(tmp_path / "again.safetensors"))
    assert checkpoint.read_info(str(tmp_path / "again.safetensors")) == info
    assert checkpoint.sha256(str(saved)) == checkpoint.find(str(saved))[1]
    assert checkpoint.parameter_count(str(saved)) == checkpoint.parameter_count(saved)
