"""OpenVINO on the CPU: the default there. A model is converted once, for all sizes, and kept on disk."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from br2focus.models.limits import frame_ratio, spacing_of
from br2focus.realtime.device import cores
from br2focus.realtime.frame import Image, Values

from . import Pending, Precision, network_inputs
from .model_cache import graph_key, keep

if TYPE_CHECKING:
    from br2focus.models.fast import InferenceNet

WEIGHT_LEVELS = 255  # -127 to 127: zero in the middle
TELEMETRY = "openvino_telemetry"
_loading = threading.Lock()
MAX_COMPILED = 32  # entries of some 10 MB; there is one for every model and size


def _forked() -> None:
    global _loading  # another thread of the parent may have held it
    _loading = threading.Lock()


os.register_at_fork(after_in_child=_forked)


class OpenVinoBackend:
    """Runs a model at one size; see `Backend`.

    Args:
        sha256: digest of the checkpoint, the key of the cache.
        make_net: loads the network; called only when the cache has no graph of it.
        size: width and height of the network's picture.
        frame_size: width and height of the frames, for a network with ``detail``; else None.
        cache: folder for converted and compiled graphs.
        precision: "fp32"; "bf16" where the CPU has it; "int8" for the layers whose ranges the checkpoint
            knows, and the rest in the better one of the other two.
        any_frame: take other frames with the same spacing of evidence, too; some slower.
        depth: frames in flight; 1 puts all cores on one frame (least latency), more give each frame fewer
            cores (most frames a second).
    """

    def __init__(
        self,
        sha256: str,
        make_net: Callable[[], InferenceNet],
        size: tuple[int, int],
        cache: Path,
        *,
        precision: Precision = "bf16",
        depth: int = 1,
        frame_size: tuple[int, int] | None = None,
        any_frame: bool = False,
    ) -> None:
        self._size, self.depth, self._detail = size, depth, frame_size is not None
        core = _core()
        bf16 = precision != "fp32" and has_bf16()
        self.name = f"openvino {precision}"
        key = graph_key(sha256, library().__version__)
        shapes = {0: [1, size[1], size[0], 3]}
        if frame_size is not None:
            key += f"-{spacing_of(frame_ratio(frame_size, size))}"
            shapes[1] = [1, -1, -1] if any_frame else [1, frame_size[1], frame_size[0]]
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "NUM_STREAMS": str(max(1, min(depth - 1, cores()))),
            # Pinned threads wait for their core while decoder and encoder use it.
            "ENABLE_CPU_PINNING": False,
        }

        def graph() -> Any:
            found = _cached(cache / f"{key}.xml", make_net)
            round_layers(found, weights=precision == "int8")
            found.reshape(shapes)
            return found

        parts = (key, shapes, precision, options, cpu_name(), _own_code())
        for_this = hashlib.sha256(repr(parts).encode())
        path = cache / "compiled" / f"{for_this.hexdigest()[:24]}.blob"
        compiled = _compiled(core, path, graph, options)
        self._free = [compiled.create_infer_request() for _ in range(self.depth)]

    def start(self, image: Image) -> Pending:
        """Begin one frame; the map is copied out of OpenVINO's buffer when it is asked for."""
        inputs = network_inputs(image, self._size, detail=self._detail)
        request = self._free.pop()
        request.start_async(inputs, share_inputs=True)

        def finish() -> Values:
            request.wait()
            values = np.array(request.get_output_tensor(0).data[0], np.float32)
            self._free.append(request)
            _ = inputs  # shared with OpenVINO, so they live until here
            return values

        return finish

    def close(self) -> None:
        """Let go of the compiled model."""
        self._free.clear()


def _cached(path: Path, make_net: Callable[[], InferenceNet]) -> Any:
    """The graph at ``path``; converted and kept there where it is missing or damaged."""
    try:
        return _core().read_model(path)
    except RuntimeError:
        graph = convert(make_net())
    with suppress(OSError):
        keep(path, lambda at: library().save_model(graph, at, compress_to_fp16=False))
    return graph


def has_bf16() -> bool:
    """Whether this CPU computes in bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_name() -> str:
    """What this CPU is called."""
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def library() -> Any:
    """OpenVINO, without the package by which it tells its makers, unasked, that it was imported.

    Where that package is missing it uses a stub of its own, so it is made missing for as long as the import
    takes; nothing then goes out, and no number that names this computer is kept in the user's home.
    """
    with _loading:
        if "openvino" not in sys.modules and TELEMETRY not in sys.modules:
            sys.modules[TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino  # noqa: TID251 - here
        finally:
            if sys.modules.get(TELEMETRY, True) is None:
                del sys.modules[TELEMETRY]
        # Its table of NumPy's types is made at the first use, which lets go of the interpreter's lock in the
        # middle: of two threads whose first use is at the same time, both wait for ever.
        openvino.Type.f32.to_dtype()
    return openvino


@cache
def _own_code() -> str:
    """Digest of this file: it decides how a graph is rounded."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@cache
def _core() -> Any:
    """OpenVINO's entry: one for the process, since making one looks for devices."""
    return library().Core()


def round_layers(graph: Any, *, weights: bool) -> None:
    """Round the weights beside rounded inputs, 255 levels for each output; or undo that of the inputs."""
    ops = library().opset13
    marks = [node for node in graph.get_ops() if node.get_type_name() == "FakeQuantize"]
    for mark in marks:
        if not weights:
            mark.output(0).replace(mark.input_value(0))
            continue
        for conv in _convolutions(mark):
            values = conv.input_value(1).get_node().data
            most = np.maximum(np.abs(values).max((1, 2, 3), keepdims=True), 1e-8)
            step = most / (WEIGHT_LEVELS // 2)
            high, low = (
                ops.constant(most.astype(np.float32)),
                ops.constant(-most.astype(np.float32)),
            )
            levels = ops.constant((nearest_levels(values / step) * step).astype(np.float32))
            rounded = ops.fake_quantize(levels, low, high, low, high, WEIGHT_LEVELS)
            conv.input(1).replace_source_output(rounded.output(0))


def _convolutions(mark: Any) -> list[Any]:
    """What uses a rounded input, at once or after its planes were put in order."""
    users = [target.get_node() for target in mark.output(0).get_target_inputs()]
    if [user.get_type_name() for user in users] == ["Transpose"]:
        return _convolutions(users[0])
    return users


def nearest_levels(values: Values) -> Values:
    """``values`` (outputs x ...) as whole numbers; kernels whose sum is zero stay blind to brightness."""
    levels = np.round(values)
    for kernel, exact in zip(levels, values, strict=True):
        if abs(exact.sum()) > 1e-3 * np.abs(exact).sum():
            continue
        sign = np.sign(kernel.sum())
        nearly = np.argsort(((exact - kernel) * sign).ravel())[: int(abs(kernel.sum()))]
        kernel.ravel()[nearly] -= sign
    return levels


def _compiled(core: Any, path: Path, graph: Callable[[], Any], options: dict[str, Any]) -> Any:
    """What is compiled for this CPU: read from ``path``, or made of ``graph`` and kept there.

    OpenVINO's own cache has to read the graph before it finds anything, a third of the time of a start.
    """
    with suppress(OSError, RuntimeError, ValueError):
        return core.import_model(_checked(path.read_bytes()), "CPU", options)
    compiled = core.compile_model(graph(), "CPU", options)
    with suppress(OSError):
        blob = compiled.export_model().getvalue()
        keep(path, lambda at: at.write_bytes(blob + _check(blob)))
        kept = sorted(path.parent.glob("*.blob"), key=lambda blob: blob.stat().st_mtime)
        for old in kept[:-MAX_COMPILED]:
            old.unlink(missing_ok=True)
    return compiled


def _check(blob: bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(4, "big")


def _checked(content: bytes) -> bytes:
    """The blob in a file's ``content``; OpenVINO would crash on a damaged one."""
    blob, check = content[:-4], content[-4:]
    if _check(blob) != check:
        raise ValueError("damaged")
    return blob


def convert(net: InferenceNet) -> Any:
    """The OpenVINO form of ``net``, for pictures of every size whose sides are multiples of 32.

    A network with ``detail`` takes frames of every size whose evidence has its spacing.

    By the parts of `openvino.convert_model`, which itself tells its makers of every conversion.
    """
    library()
    from openvino.frontend import FrontEndManager  # noqa: TID251 - after `library`
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder  # noqa: TID251
    from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose  # noqa: TID251
    from torch.export import default_decompositions

    from br2focus.models.fast_detail import exported

    table = default_decompositions()
    for operation in ops_to_not_decompose():
        if operation in table:
            table.pop(operation)  # type: ignore[no-untyped-call]
    program = exported(net).run_decompositions(table)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(program.module(), dynamic_shapes=True)
    return frontend.convert(frontend.load(decoder))
