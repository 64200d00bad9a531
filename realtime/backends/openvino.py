"""OpenVINO on the CPU: the default there. A model is converted once, for all sizes, and kept on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from br2focus.realtime.frame import Image, Values

from . import Pending, shrink

if TYPE_CHECKING:
    from br2focus.models.fast import InferenceNet

# What the exported graph is made from: a change of one of them makes old cache entries unfindable.
_GRAPH_SOURCES = (
    "attention.py", "backbones.py", "br2net.py", "efficientnet_lite.py", "fast.py", "phases.py", "rlrm.py",
)  # fmt: skip
MAX_COMPILED = 32  # entries of some 10 MB; there is one for every model and size


class OpenVinoBackend:
    """Runs a model at one size; see `Backend`.

    Args:
        sha256: digest of the checkpoint, the key of the cache.
        make_net: loads the network; called only when the cache has no graph of it.
        size: width and height of the map.
        cache: folder for converted and compiled graphs.
        bf16: compute in bfloat16 where the CPU has it, else in float32.
        depth: frames in flight; 1 puts all cores on one frame (least latency), more give each frame fewer
            cores (most frames a second).
    """

    def __init__(
        self, sha256: str, make_net: Callable[[], InferenceNet], size: tuple[int, int],
        cache: Path, *, bf16: bool = True, depth: int = 1,
    ) -> None:  # fmt: skip
        import openvino as ov

        self._size, self.depth = size, depth
        core = ov.Core()
        bf16 = bf16 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.name = "openvino bf16" if bf16 else "openvino fp32"
        path = cache / f"{graph_key(sha256, ov.__version__)}.xml"
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "NUM_STREAMS": str(max(1, min(depth - 1, os.cpu_count() or 1))),
            # Pinned threads wait for their core while decoder and encoder use it.
            "ENABLE_CPU_PINNING": False,
        }
        graph = _cached(path, make_net)
        graph.reshape({0: [1, size[1], size[0], 3]})
        compiled = _compiled(core, graph, options, cache / "compiled")
        self._free = [compiled.create_infer_request() for _ in range(self.depth)]

    def start(self, image: Image) -> Pending:
        """Begin one frame; the map is copied out of OpenVINO's buffer when it is asked for."""
        small = np.ascontiguousarray(shrink(image, self._size))[None]
        request = self._free.pop()
        request.start_async([small], share_inputs=True)

        def finish() -> Values:
            request.wait()
            values = np.array(request.get_output_tensor(0).data[0], np.float32)
            self._free.append(request)
            _ = small  # shared with OpenVINO, so it lives until here
            return values

        return finish

    def close(self) -> None:
        """Let go of the compiled model."""
        self._free.clear()


def graph_key(sha256: str, runtime: str) -> str:
    """Key of a converted graph: the weights, the code that makes the graph, the runtime's version."""
    digest = hashlib.sha256(f"{sha256} {runtime}".encode())
    for name in _GRAPH_SOURCES:
        digest.update(files("br2focus.models").joinpath(name).read_bytes())
    return digest.hexdigest()[:24]


def _cached(path: Path, make_net: Callable[[], InferenceNet]) -> Any:
    """The graph at ``path``; converted and kept there where it is missing or damaged."""
    import openvino as ov

    try:
        return ov.Core().read_model(path)
    except RuntimeError:
        graph = convert(make_net())
    with suppress(OSError):
        _save(graph, path)
    return graph


def _compiled(core: Any, graph: Any, options: dict[str, Any], folder: Path) -> Any:
    """``graph`` made ready for this CPU; kept in ``folder``, which halves the time of the next start."""
    try:
        compiled = core.compile_model(graph, "CPU", options | {"CACHE_DIR": str(folder)})
        kept = sorted(folder.glob("*.blob"), key=lambda blob: blob.stat().st_mtime)
        for blob in kept[:-MAX_COMPILED]:
            blob.unlink(missing_ok=True)
    except (OSError, RuntimeError):  # the folder cannot be written, or an entry is damaged
        return core.compile_model(graph, "CPU", options)
    return compiled


def convert(net: InferenceNet) -> Any:
    """The OpenVINO form of ``net``, for pictures of every size whose sides are multiples of 32."""
    import openvino as ov

    from br2focus.models.fast import exported

    return ov.convert_model(exported(net))


def _save(model: Any, path: Path) -> None:
    """Write ``model``; another program may do the same, and the name appears only when it is complete."""
    import openvino as ov

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        graph = Path(folder) / path.name
        ov.save_model(model, graph, compress_to_fp16=False)
        graph.with_suffix(".bin").replace(path.with_suffix(".bin"))
        graph.replace(path)
