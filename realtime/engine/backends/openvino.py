"""OpenVINO, the default on the CPU. A model is converted once for all sizes and cached on disk."""

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

WEIGHT_LEVELS = 255  # -127 to 127, symmetric around zero
TELEMETRY = "openvino_telemetry"
_loading = threading.Lock()
MAX_COMPILED = 32  # entries of about 10 MB, one per model and size


def _reset_lock_after_fork() -> None:
    global _loading  # another thread of the parent process may have held it
    _loading = threading.Lock()


os.register_at_fork(after_in_child=_reset_lock_after_fork)


class OpenVinoBackend:
    """Runs a model at one size; see `Backend`.

    Args:
        sha256: digest of the checkpoint; the cache key.
        make_net: loads the network; called only if the graph is not cached.
        size: width and height of the network's input.
        frame_size: width and height of the frames for a network with ``detail``, else None.
        cache: folder for converted and compiled graphs.
        precision: "fp32"; "bf16" if the CPU supports it; "int8" for the layers whose ranges are in the
            checkpoint, and the better of the other two for the rest.
        any_frame: also accept other frames with the same evidence spacing; somewhat slower.
        depth: frames in flight. 1 gives all cores to one frame (lowest latency); more give each frame fewer
            cores (highest throughput).
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
            # Pinned threads would wait for their core while the decoder and encoder use it.
            "ENABLE_CPU_PINNING": False,
        }

        def graph() -> Any:
            found = _cached(cache / f"{key}.xml", make_net)
            round_layers(found, weights=precision == "int8")
            found.reshape(shapes)
            return found

        parts = (key, shapes, precision, options, cpu_name(), _source_digest())
        for_this = hashlib.sha256(repr(parts).encode())
        path = cache / "compiled" / f"{for_this.hexdigest()[:24]}.blob"
        compiled = _compiled(core, path, graph, options)
        self._free = [compiled.create_infer_request() for _ in range(self.depth)]

    def start(self, image: Image) -> Pending:
        """Start one frame; calling the result copies the map out of OpenVINO's buffer."""
        inputs = network_inputs(image, self._size, detail=self._detail)
        request = self._free.pop()
        request.start_async(inputs, share_inputs=True)

        def finish() -> Values:
            request.wait()
            values = np.array(request.get_output_tensor(0).data[0], np.float32)
            self._free.append(request)
            _ = inputs  # shared with OpenVINO, so they must live until here
            return values

        return finish

    def close(self) -> None:
        """Release the compiled model."""
        self._free.clear()


def _cached(path: Path, make_net: Callable[[], InferenceNet]) -> Any:
    """Return the graph at ``path``; if it is missing or damaged, convert and cache it."""
    try:
        return _core().read_model(path)
    except RuntimeError:
        graph = convert(make_net())
    with suppress(OSError):
        keep(path, lambda at: library().save_model(graph, at, compress_to_fp16=False))
    return graph


def has_bf16() -> bool:
    """Return whether this CPU supports bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_name() -> str:
    """Return the name of this CPU."""
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def library() -> Any:
    """Return OpenVINO without its telemetry package, which reports every import to the vendor without asking.

    If that package is missing, OpenVINO uses a stub. The package is therefore hidden during the import:
    nothing is sent, and no id of this computer is stored in the user's home.
    """
    with _loading:
        if "openvino" not in sys.modules and TELEMETRY not in sys.modules:
            sys.modules[TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino  # noqa: TID251 - here
        finally:
            if sys.modules.get(TELEMETRY, True) is None:
                del sys.modules[TELEMETRY]
        # Its table of NumPy types is created on first use, which releases the GIL midway: two threads that do
        # this at the same time deadlock.
        openvino.Type.f32.to_dtype()
    return openvino


@cache
def _source_digest() -> str:
    """Return the digest of this file, which determines how a graph is quantized."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@cache
def _core() -> Any:
    """Return OpenVINO's core, shared by the process because creating one enumerates devices."""
    return library().Core()


def round_layers(graph: Any, *, weights: bool) -> None:
    """Quantize the weights of layers with quantized inputs, to 255 levels per output channel.

    Without ``weights``, remove the quantization of the inputs instead.
    """
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
    """Return the users of a quantized input, directly or after a transpose of its planes."""
    users = [target.get_node() for target in mark.output(0).get_target_inputs()]
    if [user.get_type_name() for user in users] == ["Transpose"]:
        return _convolutions(users[0])
    return users


def nearest_levels(values: Values) -> Values:
    """Round ``values`` (outputs x ...) to integers.

    The sum of a kernel that sums to zero stays zero, so it remains insensitive to brightness.
    """
    levels = np.round(values)
    for kernel, exact in zip(levels, values, strict=True):
        if abs(exact.sum()) > 1e-3 * np.abs(exact).sum():
            continue
        sign = np.sign(kernel.sum())
        nearly = np.argsort(((exact - kernel) * sign).ravel())[: int(abs(kernel.sum()))]
        kernel.ravel()[nearly] -= sign
    return levels


def _compiled(core: Any, path: Path, graph: Callable[[], Any], options: dict[str, Any]) -> Any:
    """Return the model compiled for this CPU, read from ``path`` or compiled from ``graph`` and cached.

    OpenVINO's own cache has to read the graph before a lookup, which takes a third of the start-up time.
    """
    with suppress(OSError, RuntimeError, ValueError):
        return core.import_model(_verified(path.read_bytes()), "CPU", options)
    compiled = core.compile_model(graph(), "CPU", options)
    with suppress(OSError):
        blob = compiled.export_model().getvalue()
        keep(path, lambda at: at.write_bytes(blob + _checksum(blob)))
        kept = sorted(path.parent.glob("*.blob"), key=lambda blob: blob.stat().st_mtime)
        for old in kept[:-MAX_COMPILED]:
            old.unlink(missing_ok=True)
    return compiled


def _checksum(blob: bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(4, "big")


def _verified(content: bytes) -> bytes:
    """Return the blob in a file's ``content`` after verifying it; OpenVINO would crash on a damaged one."""
    blob, check = content[:-4], content[-4:]
    if _checksum(blob) != check:
        raise ValueError("damaged")
    return blob


def convert(net: InferenceNet) -> Any:
    """Convert ``net`` to OpenVINO, for images of any size whose sides are multiples of 32.

    A network with ``detail`` accepts frames of any size with its evidence spacing.

    This uses the parts of `openvino.convert_model`, which itself reports every conversion to the vendor.
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
