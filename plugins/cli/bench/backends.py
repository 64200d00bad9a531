"""All backends that can run the network on this machine, and their throughput."""

from __future__ import annotations

import time

from br2focus.realtime.engine.backends import Backend
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.selection import BackendSpec, available_backends
from br2focus.realtime.frame import Image, Values

IN_FLIGHT = 3


def all_backends(
    engine: Engine, frame: tuple[int, int], size: tuple[int, int], device: str, *, depth: int = 1
) -> dict[str, Backend]:
    """Return every backend that can run the network here, by name."""
    if device != "cpu":
        return _cuda_backends(engine, frame, size, device)
    possible = list(available_backends("auto", "auto", calibrated=bool(engine.info.ranges)))
    possible += [BackendSpec("torch", "fp32"), BackendSpec("torch", "bf16")]
    return {spec.name: engine.factory.on_cpu(spec, frame, depth=depth) for spec in possible}


def _cuda_backends(
    engine: Engine, frame: tuple[int, int], size: tuple[int, int], device: str
) -> dict[str, Backend]:
    import torch

    from br2focus.realtime.engine.backends.cuda import CudaBackend
    from br2focus.realtime.engine.backends.cuda_net import CudaNet

    nets = [
        CudaNet(engine.factory.net(frame), device),
        CudaNet(engine.factory.net(frame), device, dtype=torch.float32),
    ]
    if engine.settings.compiled:
        nets.append(CudaNet(engine.factory.net(frame), device, compiled=True))
    found: dict[str, Backend] = {f"{n.name} graph": CudaBackend(n, frame, size) for n in nets}
    found[f"{nets[0].name} eager"] = CudaBackend(nets[0], frame, size, graph=False)
    return found


def once(backend: Backend, picture: Image) -> Values:
    """Compute one map of ``picture``."""
    return backend.start(picture)()


def throughput(engine: Engine, image: Image, size: tuple[int, int], device: str) -> dict[str, float]:
    """Measure maps per second with `IN_FLIGHT` frames in flight, for the backends that accept several."""
    found = {}
    frame = (image.shape[1], image.shape[0])
    for name, backend in all_backends(engine, frame, size, device, depth=IN_FLIGHT).items():
        if backend.depth > 1:
            found[name] = round(_streamed(backend, image), 1)
        backend.close()
    return found


def _streamed(backend: Backend, picture: Image, seconds: float = 1.5) -> float:
    waiting = [backend.start(picture) for _ in range(backend.depth - 1)]
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        waiting.append(backend.start(picture))
        waiting.pop(0)()
        done += 1
    rate = done / (time.perf_counter() - begun)
    for finish in waiting:
        finish()
    return rate
