"""Checkpoints: safetensors files with a JSON header, found by name or path, verified and loaded strictly.

The header (key ``br2focus`` of the file's metadata) describes the weights: the configuration of the network,
the scale of its input, the long side it is meant for, its training data and its polarity. Finding and
describing a checkpoint needs no PyTorch; `load` and `save` import it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from .config import BR2NetConfig, InputScale
from .errors import CheckpointError
from .paths import AnyPath

if TYPE_CHECKING:
    from torch import Tensor

    from .br2net import BR2Net

FORMAT_VERSION = 1
HEADER_KEY = "br2focus"
MAX_HEADER_BYTES = 1 << 20
SHIPPED = "br2focus.models.weights"


@dataclass(frozen=True)
class ModelInfo:
    """The header of a checkpoint.

    Attributes:
        name: name of the model in reports.
        config: configuration of the network.
        scale: scale of its input.
        size: default long side of its input in pixels.
        data: description of its training data.
        ranges: layer -> range of its inputs, for layers that run in eight bits (see `int8`); {} if unknown.
        polarity: meaning of 1 in its output; only "blurred" is written.
        version: version of this header.
    """

    name: str
    config: BR2NetConfig
    scale: InputScale = field(default_factory=InputScale)
    size: int = 320
    data: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    polarity: str = "blurred"
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not (isinstance(self.size, int) and self.size > 0):
            raise ValueError(f"size = {self.size!r} is not a positive whole number")

    def to_json(self) -> str:
        """Return the header as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> ModelInfo:
        """Read a header.

        Raises:
            CheckpointError: the text is not JSON, has another version or polarity, or names unknown fields.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if values["version"] != FORMAT_VERSION or values["polarity"] != "blurred":
                raise CheckpointError(
                    f"header version {values['version']}, polarity {values['polarity']!r}: "
                    f"this program reads version {FORMAT_VERSION}, polarity 'blurred'"
                )
            config = BR2NetConfig(**values.pop("config"))
            scale = InputScale(**{k: tuple(v) for k, v in values.pop("scale").items()})
            ranges = {
                str(name): (float(low), float(high)) for name, (low, high) in values.pop("ranges", {}).items()
            }
            return ModelInfo(config=config, scale=scale, ranges=ranges, **values)
        except CheckpointError:
            raise
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise CheckpointError(f"the header is not one of br2focus: {error}") from error


def sha256(path: AnyPath) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped() -> dict[str, str]:
    """Return the names of the shipped models, each with the SHA-256 of its file."""
    lines = files(SHIPPED).joinpath("SHA256SUMS").read_text().splitlines()
    return {name.removesuffix(".safetensors"): digest for digest, name in map(str.split, lines)}


def find(model: AnyPath) -> tuple[Path, str]:
    """Return the path and the SHA-256 of ``model``, which is the name of a shipped model or a file.

    Raises:
        CheckpointError: ``model`` is neither a shipped name nor a file, or a shipped file has a wrong hash.
    """
    name, pinned = os.fspath(model), shipped()
    if name in pinned:
        with as_file(files(SHIPPED).joinpath(f"{name}.safetensors")) as path:
            return path, _verified(path, pinned[name])
    path = Path(model)
    if not path.is_file():
        raise CheckpointError(f"no model {name!r}: name a .safetensors file or one of {', '.join(pinned)}")
    return path, sha256(path)


def _verified(path: Path, expected: str) -> str:
    if not path.is_file():
        raise CheckpointError(f"the shipped weights {path.name} are missing: reinstall br2focus")
    found = sha256(path)
    if found != expected:
        raise CheckpointError(
            f"{path.name} is damaged: expected SHA-256 {expected}, found {found}; reinstall br2focus"
        )
    return found


def read_info(path: AnyPath) -> ModelInfo:
    """Read the header of a checkpoint, without its weights.

    Raises:
        CheckpointError: the file cannot be read, or is not a safetensors file of br2focus.
    """
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not 0 < length <= MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: not a safetensors checkpoint (header of {length} bytes)")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors checkpoint ({error})") from error
    if HEADER_KEY not in metadata:
        raise CheckpointError(f"{path}: no br2focus header; was it saved by another program?")
    try:
        return ModelInfo.from_json(metadata[HEADER_KEY])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def parameter_count(path: AnyPath) -> int:
    """Return the number of learned values in a checkpoint (no norm statistics), without reading them."""
    with safe_open(path, framework="numpy") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    return sum(math.prod(s) for key, s in shapes.items() if "running_" not in key)


def load(path: AnyPath) -> tuple[BR2Net, ModelInfo]:
    """Load the network of a checkpoint in float32 and evaluation mode, on the CPU.

    Raises:
        CheckpointError: the file is damaged, or its tensors are not those of the network in its header.
    """
    import torch
    from safetensors.torch import load_file

    from .br2net import BR2Net

    path = Path(path)
    info = read_info(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
    with torch.device("meta"):  # uses no memory and no random numbers before the names are checked
        net = BR2Net(info.config)
    wanted = net.state_dict()
    _require_same_tensors(path, wanted, tensors)
    state = {key: tensor.float() for key, tensor in tensors.items()}
    net.load_state_dict(
        {key: state.get(key, torch.zeros((), dtype=torch.int64)) for key in wanted}, assign=True
    )
    return net.eval(), info


def _require_same_tensors(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    expected = {k: t.shape for k, t in wanted.items() if not k.endswith("num_batches_tracked")}
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(found.keys() - expected.keys())
    shapes = sorted(k for k in expected.keys() & found.keys() if expected[k] != found[k].shape)
    if missing or unknown or shapes:
        raise CheckpointError(
            f"{path}: not the network of its header: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(shapes)} of another shape {shapes[:3]}"
        )


def save(net: BR2Net, info: ModelInfo, path: AnyPath) -> None:
    """Save ``net`` in float16 with its header; the file gets its final name only when it is complete.

    Raises:
        CheckpointError: a weight is not finite in float16.
        OSError: the file cannot be written.
    """
    import torch

    tensors = {
        key: tensor.detach().to("cpu", torch.float16).contiguous()
        for key, tensor in net.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    wrong = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if wrong:
        raise CheckpointError(f"{path}: not written, these are not finite in float16: {wrong[:3]}")
    write_tensors(tensors, path, {HEADER_KEY: info.to_json()})


def write_tensors(tensors: Mapping[str, Tensor], path: AnyPath, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; it gets its final name only when all of it is on the disk.

    Raises:
        OSError: the file cannot be written; an older file of that name is unchanged.
    """
    from safetensors.torch import save_file

    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(dict(tensors), partial, metadata=dict(metadata))
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error})") from error
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)  # puts the new name on the disk too


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
