"""ONNX Runtime on the CPU (extra ``onnx``). A model is converted once for all sizes and cached on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from br2focus.models.limits import frame_ratio, spacing_of
from br2focus.realtime.device import cores
from br2focus.realtime.frame import Image

from . import Pending, network_inputs
from .model_cache import graph_key, keep

if TYPE_CHECKING:
    from br2focus.models.fast import InferenceNet


class OnnxBackend:
    """Runs a model in float32; see `Backend`.

    Args:
        sha256: digest of the checkpoint; the cache key.
        make_net: loads the network; called only if the graph is not cached.
        size: width and height of the network's input.
        cache: folder for converted graphs.
        frame_size: width and height of the frames for a network with ``detail``, else None.
    """

    name = "onnxruntime fp32"
    depth = 1

    def __init__(
        self,
        sha256: str,
        make_net: Callable[[], InferenceNet],
        size: tuple[int, int],
        cache: Path,
        frame_size: tuple[int, int] | None = None,
    ) -> None:
        ort = library()
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3  # errors only; its warnings are about things it cannot change
        key = graph_key(sha256, ort.__version__)
        if frame_size is not None:
            key += f"-{spacing_of(frame_ratio(frame_size, size))}"
        path = cache / f"{key}.onnx"
        graph: str | bytes = str(path)
        if not path.is_file():
            graph = convert(make_net())
            with suppress(OSError):
                keep(path, lambda at, graph=graph: at.write_bytes(graph))  # type: ignore[misc]
        self._session = ort.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self._size, self._detail = size, frame_size is not None

    def start(self, image: Image) -> Pending:
        """Run one frame immediately; the result only returns the map."""
        inputs = network_inputs(image, self._size, detail=self._detail)
        names = (each.name for each in self._session.get_inputs())
        [values] = self._session.run(None, dict(zip(names, inputs, strict=True)))
        return lambda: np.asarray(values[0], np.float32)

    def close(self) -> None:
        """Do nothing, since only memory is held."""


def library() -> Any:
    """Return ONNX Runtime with its telemetry disabled.

    By default it sends events to its vendor without asking. Only an environment variable set before the
    import stops all of them; its name has changed once.
    """
    for variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ.setdefault(variable, "1")
    import onnxruntime  # noqa: TID251 - here

    return onnxruntime


def convert(net: InferenceNet) -> bytes:
    """Convert ``net`` to ONNX, for images of any size whose sides are multiples of 32."""
    library()  # before the exporter imports it
    import torch

    from br2focus.models.fast_detail import exported

    program = torch.onnx.export(exported(net), dynamo=True, verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
