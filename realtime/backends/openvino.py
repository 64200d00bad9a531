"""OpenVINO on the CPU: the default there. Converted once for each model and size, then cached on disk."""

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
    "attention.py", "backbones.py", "br2net.py", "efficientnet_lite.py", "fast.py", "rlrm.py",
)  # fmt: skip


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
        path = cache / f"{graph_key(sha256, ov.__version__)}-{size[0]}x{size[1]}.xml"
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "NUM_STREAMS": str(max(1, min(depth - 1, os.cpu_count() or 1))),
            # Pinned threads wait for their core while decoder and encoder use it.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            if not path.is_file():
                _save(_converted(make_net(), size), path)
            cached = options | {"CACHE_DIR": str(cache / "compiled")}
            compiled = core.compile_model(path, "CPU", cached)
        except (OSError, RuntimeError):  # the folder cannot be written, or an entry is damaged
            with suppress(OSError):
                path.unlink(missing_ok=True)
            compiled = core.compile_model(_converted(make_net(), size), "CPU", options)
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


def _converted(net: InferenceNet, size: tuple[int, int]) -> Any:
    """The OpenVINO form of ``net`` for pictures of one size."""
    import openvino as ov
    import torch

    example = torch.zeros((1, size[1], size[0], 3), dtype=torch.uint8)
    return ov.convert_model(torch.export.export(net.float(), (example,)))


def _save(model: Any, path: Path) -> None:
    """Write ``model``; another program may do the same, and the name appears only when it is complete."""
    import openvino as ov

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        graph = Path(folder) / path.name
        ov.save_model(model, graph, compress_to_fp16=False)
        graph.with_suffix(".bin").replace(path.with_suffix(".bin"))
        graph.replace(path)
