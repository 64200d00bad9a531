"""Exports a model to a file for other programs; the file is checked against the network before it is kept.

Every file takes ``pictures`` (uint8 BGR 1 x H x W x 3, sides multiples of 32) and returns P(blurred) (float32
1 x H x W); input scaling, resizing of the map and the sigmoid are included. For a network with ``detail``, it
also takes ``luma``, the frame's luma at full resolution (uint8 1 x H' x W'), measures the evidence itself,
and returns 1 x 3 x H/2 x W/2: ln of the blur radius in pixels of the frame, gain, and ln of the footage's
softness. P(radius > limit) is sigmoid(gain * (ln radius - ln limit)).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from br2focus.models import checkpoint
from br2focus.models.limits import frame_ratio
from br2focus.models.paths import AnyPath
from br2focus.models.sizes import network_size
from br2focus.realtime.errors import ComputeError, SettingsError, SinkError
from br2focus.realtime.frame import Image, Values

from .backends.model_cache import keep

EXPORT_SUFFIXES = (".onnx", ".xml", ".safetensors")
CHECKED_AT = ((160, 96), (64, 64), (96, 224))  # width and height of the network's input
TOLERANCE = {"fp32": (1e-3, 1e-4), "int8": (0.25, 0.03)}  # largest and mean difference in P


class Exported(NamedTuple):
    """The exported file, and the largest and mean difference in P from the PyTorch network."""

    path: Path
    largest: float
    mean: float


def export(
    model: AnyPath, path: AnyPath, *, int8: bool = False, frame_size: tuple[int, int] = (1920, 1080)
) -> Exported:
    """Export the checkpoint ``model`` as .onnx (ONNX) or as .xml and .bin (OpenVINO).

    Args:
        model: name or path.
        path: the output file.
        int8: quantize the layers whose ranges are in the checkpoint.
        frame_size: width and height of the frames, for a network with ``detail``; the file also accepts other
            frames with the same evidence spacing (see `limits.spacing_of`).

    Raises:
        SettingsError: the suffix is unknown, or ``int8`` is used with ONNX or a model without ranges.
        ComputeError: a library is missing, or the file's results differ from those of the network.
        SinkError: the file cannot be written.
    """
    from br2focus.models.fast_detail import inference_net
    from br2focus.models.int8 import with_ranges

    path = Path(path)
    found, _ = checkpoint.find(model)
    net, info = checkpoint.load(found)
    if path.suffix not in EXPORT_SUFFIXES[:2]:
        raise SettingsError(f"{path}: the suffix is .onnx or .xml")
    if int8 and (path.suffix == ".onnx" or not info.ranges):
        raise SettingsError(f"{path}: int8 is for .xml and models with ranges (--calibrate)")
    ratio = frame_ratio(frame_size, network_size(frame_size, info.size))
    plain = inference_net(net, info.scale, ratio)
    write, run = _onnx if path.suffix == ".onnx" else _openvino(rounded=int8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        try:
            write(with_ranges(plain, info.ranges) if int8 else plain, file)
            differences = [_difference(plain, run(file), size, ratio) for size in CHECKED_AT]
        except ImportError as error:
            raise ComputeError(f"{error}: pip install 'br2focus[onnx]'") from error
        largest, mean = (max(values) for values in zip(*differences, strict=True))
        allowed = TOLERANCE["int8" if int8 else "fp32"]
        if not (largest <= allowed[0] and mean <= allowed[1]):  # written so that NaN fails, too
            raise ComputeError(f"{path}: not kept, it differs from the network by {largest:.2g}")
        _move(file, path)
    return Exported(path, largest, mean)


def calibrate(model: AnyPath, path: AnyPath, pictures: Iterable[Image]) -> Exported:
    """Save a copy of the checkpoint ``model`` with the ranges of its int8 layers measured on ``pictures``.

    Args:
        pictures: uint8 BGR, any size; about thirty of the kind that the model is meant for.

    Raises:
        SettingsError: there are no pictures, or ``path`` is not a .safetensors file.
        SinkError: the file cannot be written.
    """
    import torch

    from br2focus.models.fast_detail import inference_net
    from br2focus.models.int8 import Range, observe

    from .backends import network_inputs

    path = Path(path)
    if path.suffix != ".safetensors":
        raise SettingsError(f"{path}: calibration is kept in a .safetensors file")
    net, info = checkpoint.load(checkpoint.find(model)[0])
    ranges: dict[str, Range] = {}
    for image in pictures:
        size = network_size((image.shape[1], image.shape[0]), info.size)
        inputs = network_inputs(image, size, detail=info.config.detail != "none")
        tensors = tuple(torch.from_numpy(np.array(each)) for each in inputs)
        fast = inference_net(net, info.scale, frame_ratio(image.shape[:2], size))
        ranges = observe(fast, [tensors], ranges)
    if not ranges:
        raise SettingsError("calibration needs pictures")
    try:
        checkpoint.save(net, replace(info, ranges=ranges), path)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error
    return Exported(path, 0.0, 0.0)


def _difference(
    net: Any, run: Callable[[list[Image]], Values], size: tuple[int, int], ratio: float
) -> tuple[float, float]:
    import torch

    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (1, size[1], size[0], 3), dtype=np.uint8)]
    if net.net.config.detail != "none":
        height, width = (round(side * ratio) for side in (size[1], size[0]))
        inputs.append(rng.integers(0, 256, (1, height, width), dtype=np.uint8))
    with torch.inference_mode():
        wanted = net(*map(torch.from_numpy, inputs)).numpy()
    difference = np.abs(_p(run(inputs)) - _p(wanted))
    return float(difference.max()), float(difference.mean())


def _p(values: Values) -> Values:
    """Return P(blurred); computed from radii with their median as the limit, if needed."""
    if values.ndim == 3:
        return values
    log_radius, gain, _ = values[0]
    return np.asarray(1 / (1 + np.exp(-gain * (log_radius - np.median(log_radius)))))


class Format(NamedTuple):
    """How a network is written to a file, and how the file is loaded."""

    write: Callable[[Any, Path], object]
    open: Callable[[Path], Callable[[list[Image]], Values]]


def _open_onnx(file: Path) -> Callable[[list[Image]], Values]:
    from .backends.onnxruntime import library

    session = library().InferenceSession(str(file), None, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda inputs: np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0], np.float32)


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

    def opened(file: Path) -> Callable[[list[Image]], Values]:
        from .backends.openvino import library

        def run(inputs: list[Image]) -> Values:
            ov = library()
            graph = ov.Core().read_model(file)
            graph.reshape({number: list(each.shape) for number, each in enumerate(inputs)})
            compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            return np.array(compiled(inputs)[0])

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
