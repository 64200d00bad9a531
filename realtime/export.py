"""A model as a file for other programs, checked against the network before it gets its name.

Every file takes ``pictures`` (uint8 BGR 1 x H x W x 3, sides multiples of 32) and gives P(blurred) (float32
1 x H x W): the scale of the input, the resizing of the map and the sigmoid are in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from br2focus.models import checkpoint

from .backends.graphs import keep
from .errors import ComputeError, SettingsError, SinkError
from .frame import Image, Values

FORMATS = (".onnx", ".xml", ".safetensors")
CHECKED_AT = ((160, 96), (64, 64))  # width and height
TOLERANCE = {"fp32": (1e-3, 1e-4), "int8": (0.25, 0.03)}  # largest and mean difference in P


class Exported(NamedTuple):
    """The file, and its largest and mean difference from the network in PyTorch (in P)."""

    path: Path
    largest: float
    mean: float


def export(model: str, path: Path, *, int8: bool = False) -> Exported:
    """Write the checkpoint ``model`` as .onnx (ONNX) or .xml and .bin (OpenVINO).

    Raises:
        SettingsError: the suffix is another one, or ``int8`` with ONNX or a model without ranges.
        ComputeError: a library is missing, or the file does not compute what the network does.
        SinkError: it cannot be written.
    """
    from br2focus.models.fast import InferenceNet
    from br2focus.models.int8 import with_ranges

    found, _ = checkpoint.find(model)
    net, info = checkpoint.load(found)
    if path.suffix not in FORMATS[:2]:
        raise SettingsError(f"{path}: the suffix is .onnx or .xml")
    if int8 and (path.suffix == ".onnx" or not info.ranges):
        raise SettingsError(f"{path}: int8 is for .xml and models with ranges (--calibrate)")
    plain = InferenceNet(net, info.scale)
    write, run = _onnx if path.suffix == ".onnx" else _openvino(rounded=int8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        try:
            write(with_ranges(plain, info.ranges) if int8 else plain, file)
            differences = [_difference(plain, run(file), size) for size in CHECKED_AT]
        except ImportError as error:
            raise ComputeError(f"{error}: pip install 'br2focus[onnx]'") from error
        largest, mean = (max(values) for values in zip(*differences, strict=True))
        allowed = TOLERANCE["int8" if int8 else "fp32"]
        if not (largest <= allowed[0] and mean <= allowed[1]):  # written so that NaN fails too
            raise ComputeError(f"{path}: not kept, it differs from the network by {largest:.2g}")
        _move(file, path)
    return Exported(path, largest, mean)


def calibrate(model: str, path: Path, pictures: Iterable[Image]) -> Exported:
    """Write the checkpoint ``model`` again, with the ranges that its eight-bit layers take on ``pictures``.

    Args:
        pictures: uint8 BGR, any size; some thirty of the kind that the model is for.

    Raises:
        SettingsError: there are no pictures, or ``path`` is no .safetensors file.
        SinkError: it cannot be written.
    """
    import torch

    from br2focus.models.fast import InferenceNet
    from br2focus.models.int8 import observe
    from br2focus.models.sizes import network_size

    from .backends import shrink

    if path.suffix != ".safetensors":
        raise SettingsError(f"{path}: calibration is kept in a .safetensors file")
    net, info = checkpoint.load(checkpoint.find(model)[0])
    small = (
        shrink(image, network_size((image.shape[1], image.shape[0]), info.size))
        for image in pictures
    )
    tensors = (torch.from_numpy(np.array(image))[None] for image in small)
    ranges = observe(InferenceNet(net, info.scale), tensors)
    if not ranges:
        raise SettingsError("calibration needs pictures")
    try:
        checkpoint.save(net, replace(info, ranges=ranges), path)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error
    return Exported(path, 0.0, 0.0)


def _difference(
    net: Any, run: Callable[[Image], Values], size: tuple[int, int]
) -> tuple[float, float]:
    import torch

    noise = np.random.default_rng(0).integers(0, 256, (1, size[1], size[0], 3), dtype=np.uint8)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(noise)).numpy()
    difference = np.abs(run(noise) - wanted)
    return float(difference.max()), float(difference.mean())


class Format(NamedTuple):
    """How a network is written, and how the file is opened."""

    write: Callable[[Any, Path], object]
    open: Callable[[Path], Callable[[Image], Values]]


def _open_onnx(file: Path) -> Callable[[Image], Values]:
    from .backends.onnxruntime import library

    session = library().InferenceSession(str(file), None, ["CPUExecutionProvider"])
    return lambda picture: np.asarray(session.run(None, {"pictures": picture})[0])


def _write_onnx(net: Any, file: Path) -> None:
    from .backends.onnxruntime import convert

    file.write_bytes(convert(net))


_onnx = Format(_write_onnx, _open_onnx)


def _openvino(*, rounded: bool) -> Format:
    def write(net: Any, file: Path) -> None:
        from .backends.openvino import convert, library, round_layers

        graph = convert(net)
        round_layers(graph, weights=rounded)
        library().save_model(graph, file, compress_to_fp16=False)

    def opened(file: Path) -> Callable[[Image], Values]:
        from .backends.openvino import library

        def run(picture: Image) -> Values:
            ov = library()
            graph = ov.Core().read_model(file)
            graph.reshape({0: list(picture.shape)})
            compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            return np.array(compiled([picture])[0])

        return run

    return Format(write, opened)


def _move(file: Path, path: Path) -> None:
    def write(at: Path) -> None:
        for part in file.parent.iterdir():
            at.with_name(part.name).write_bytes(part.read_bytes())

    try:
        keep(path, write)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error
