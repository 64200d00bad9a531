"""The GPU: its batches and its ladder of smaller loads on any machine, its results where there is one."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from br2focus.models import checkpoint
from br2focus.models.fast import InferenceNet
from br2focus.models.sizes import network_size
from br2focus.realtime.engine import engine as engine_module
from br2focus.realtime.engine.backend_cache import MAX_ON_GPU
from br2focus.realtime.engine.backends import cuda, cuda_net, shrink
from br2focus.realtime.engine.backends.area import AreaShrink
from br2focus.realtime.engine.backends.cuda import CudaBackend
from br2focus.realtime.engine.backends.cuda_net import CudaNet
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.fallback import MAX_REDONE
from br2focus.realtime.engine.load import (
    BATCH,
    PINNED_BYTES,
    SLOTS,
    Load,
    full_batch,
    is_short_of_memory,
)
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Image
from br2focus.realtime.sources.arrays import Frames

FULL = "CUDA out of memory. Tried to allocate 2 GiB"


def picture(height: int = 90, width: int = 120, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)


class Nothing:
    """A stream or an event where everything happens at once."""

    def synchronize(self) -> None: ...

    def record(self) -> None: ...

    def wait_event(self, event: object) -> None: ...


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CudaBackend` on the CPU: streams, events and pinned memory that do nothing."""
    for name in ("stream", "device"):
        monkeypatch.setattr(torch.cuda, name, lambda it: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Nothing)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(cuda_net, "_stream", Nothing)
    monkeypatch.setattr(cuda, "_event", Nothing)
    monkeypatch.setattr(cuda, "_pinned", lambda shape, dtype: torch.zeros(shape, dtype=dtype))


def reference(model: str, images: list[Image], size: tuple[int, int]) -> list[np.ndarray]:
    net, info = checkpoint.load(checkpoint.find(model)[0])
    fast = InferenceNet(net, info.scale)
    with torch.inference_mode():
        small = [torch.from_numpy(np.array(shrink(image, size)))[None] for image in images]
        return [fast(each)[0].numpy() for each in small]


@pytest.mark.parametrize("order", ["in order", "each at once", "last first"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("frame", [(96, 64), (200, 150), (96, 60)], ids="{0[0]}x{0[1]}".format)
def test_every_map_of_a_batch_is_that_of_its_picture(
    pretended: None, model: str, frame: tuple[int, int], order: str, count: int
) -> None:
    images = [picture(frame[1], frame[0], seed) for seed in range(count)]
    net, info = checkpoint.load(checkpoint.find(model)[0])
    exact = CudaNet(InferenceNet(net, info.scale), "cpu", dtype=torch.float32)
    backend = CudaBackend(exact, frame, (96, 64), graph=False, batch=2)
    assert backend.depth == 2 * SLOTS
    if order == "each at once":
        found = [backend.start(image)() for image in images]
    else:
        pending = [backend.start(image) for image in images]
        turn = -1 if order == "last first" else 1
        found = [finish() for finish in pending[::turn]][::turn]
    kept = [values.copy() for values in found]
    for image in images:  # slots come back, and old maps stay as they were
        backend.start(image)()
    wanted = reference(model, images, (96, 64))
    for values, old, expected in zip(found, kept, wanted, strict=True):
        assert np.abs(values - expected).max() < 1e-5
        assert np.array_equal(values, old)
    backend.close()


def test_a_batch_that_could_not_be_computed_gives_no_older_maps(
    pretended: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, info = checkpoint.load(checkpoint.find(model)[0])
    exact = CudaNet(InferenceNet(net, info.scale), "cpu", dtype=torch.float32)
    backend = CudaBackend(exact, (96, 64), (96, 64), graph=False, batch=3)
    for seed in range(3 * SLOTS):  # every buffer has maps of other pictures
        backend.start(picture(64, 96, 100 + seed))()
    images = [picture(64, 96, seed) for seed in range(3)]
    pending = [backend.start(image) for image in images[:2]]
    run = backend._run
    monkeypatch.setattr(backend, "_run", _raising(FULL))
    with pytest.raises(RuntimeError, match="out of memory"):
        backend.start(images[2])
    with pytest.raises(RuntimeError, match="out of memory"):
        pending[0]()
    monkeypatch.setattr(backend, "_run", run)
    for finish, expected in zip(pending, reference(model, images, (96, 64)), strict=False):
        assert np.abs(finish() - expected).max() < 1e-5


def _raising(text: str) -> Any:
    def fail(*args: object) -> None:
        raise RuntimeError(text)

    return fail


def test_backends_share_the_few_streams_that_there_are(pretended: None, model: str) -> None:
    net, info = checkpoint.load(checkpoint.find(model)[0])
    exact = CudaNet(InferenceNet(net, info.scale), "cpu", dtype=torch.float32)
    one, other = (CudaBackend(exact, (96, side), (96, 64), graph=False) for side in (64, 80))
    assert (one._up, one._compute, one._down) == (other._up, other._compute, other._down)


def test_the_thread_that_compiles_may_do_so_for_many_sizes(model: str) -> None:
    net, info = checkpoint.load(checkpoint.find(model)[0])
    compiled, found = CudaNet(InferenceNet(net, info.scale), "cpu", compiled=True), []
    compiled.prepare(lambda: found.append(torch._dynamo.config.recompile_limit))
    assert found == [cuda_net.MAX_COMPILED]


def test_a_job_that_failed_keeps_nothing_alive(model: str) -> None:
    class Large: ...

    kept: list[weakref.ref[Large]] = []

    def job() -> None:
        large = Large()
        kept.append(weakref.ref(large))
        raise RuntimeError(FULL)

    worker = cuda_net._Worker("cuda")
    gc.disable()
    try:
        with suppress(RuntimeError):
            worker.do(job)
        worker.do(lambda: None)  # the worker, too, has gone on
        assert kept[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((1280, 720), (480, 256)),
        ((1920, 1080), (480, 256)),
        ((1280, 720), (320, 192)),
        ((640, 427), (320, 224)),
        ((641, 333), (96, 64)),
        ((97, 65), (96, 64)),
        ((96, 64), (96, 64)),
    ],
)
def test_pictures_shrink_as_on_the_cpu(frame: tuple[int, int], size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, frame[1], frame[0], 3), dtype=np.uint8)
    found = AreaShrink(frame, size, torch.device("cpu"))(torch.from_numpy(noise)).numpy()
    for picture, wanted in zip(found, [shrink(image, size) for image in noise], strict=True):
        off = np.abs(picture - wanted)  # half levels, after another order of sums
        assert off.max() <= 1 and (off > 0).mean() < 0.01


@pytest.mark.parametrize(("size", "batch"), [((320, 240), BATCH), ((1920, 1080), BATCH), ((3840, 2160), 4)])
def test_a_batch_keeps_pinned_memory_bounded(size: tuple[int, int], batch: int) -> None:
    assert full_batch(size) == batch
    assert SLOTS * batch * 3 * size[0] * size[1] <= PINNED_BYTES


def test_loads_become_smaller_down_to_nothing() -> None:
    seen, load = [], Load(8)
    while load is not None:
        seen.append((load.batch, load.side(480)))
        load = load.less(480, 4)
    assert seen == [(8, 480), (2, 480), (1, 480), (1, 360), (1, 270), (1, 202), (1, 160)]


class Small:
    """A GPU whose memory holds so many pictures of maps of such a side, and so many backends."""

    def __init__(self, batch: int, side: int, *, late: bool, backends: int = MAX_ON_GPU) -> None:
        self.batch, self.side, self.late, self.backends = batch, side, late, backends
        self.alive: list[_OnGpu] = []
        self.asked: list[tuple[int, int]] = []
        self.nets: list[bool] = []

    def net(self, net: object, device: str, *, compiled: bool) -> bool:
        self.nets.append(compiled)
        return compiled

    def backend(self, compiled: bool, frame: object, size: Any, *, batch: int) -> Any:
        if compiled:
            raise RuntimeError("no C compiler")
        self.asked.append((batch, max(size)))
        full = batch > self.batch or max(size) > self.side
        if len(self.alive) == self.backends:
            raise torch.OutOfMemoryError(FULL)
        if full and not self.late:
            raise torch.OutOfMemoryError(FULL)
        self.alive.append(_OnGpu(size, batch, full=full, among=self.alive))
        return self.alive[-1]


class _OnGpu:
    name = "torch cuda fp16"

    def __init__(self, size: tuple[int, int], batch: int, *, full: bool, among: list[_OnGpu]) -> None:
        self.size, self.depth, self.full, self.among = size, SLOTS * batch, full, among

    def start(self, image: Image) -> Any:
        values = np.full(self.size[::-1], image[0, 0, 0] / 255, np.float32)

        def finish() -> np.ndarray:
            if self.full:
                raise torch.OutOfMemoryError(FULL)
            return values

        return finish

    def close(self) -> None:
        self.among.remove(self)


def on_gpu(model: str, monkeypatch: pytest.MonkeyPatch, gpu: Small, *, compiled: bool = False) -> Engine:
    monkeypatch.setattr(engine_module, "resolved", lambda device: "cuda")
    monkeypatch.setattr(cuda_net, "CudaNet", gpu.net)
    monkeypatch.setattr(cuda, "CudaBackend", gpu.backend)
    return Engine(EngineSettings(model, size=256, backend="torch", compiled=compiled))


@pytest.mark.parametrize("late", [False, True], ids=["at the start", "while it runs"])
@pytest.mark.parametrize(
    ("batch", "side", "said"),
    [
        (2, 256, ["4 pictures at once", "2 pictures at once"]),
        (
            1,
            192,
            ["4 pictures at once", "2 pictures at once", "one picture at a time", "192 pixels"],
        ),
    ],
)
def test_a_full_gpu_is_asked_for_less_and_no_frame_is_lost(
    model: str, monkeypatch: pytest.MonkeyPatch, late: bool, batch: int, side: int, said: list[str]
) -> None:
    gpu = Small(batch, side, late=late)
    engine = on_gpu(model, monkeypatch, gpu)
    images = [np.full((192, 256, 3), shade, np.uint8) for shade in range(40)]
    results = list(engine.stream(Frames(images), depth=3))
    assert [frame.index for frame, _ in results] == list(range(40))
    for shade, (frame, blur) in enumerate(results):
        values = blur.at(frame.size).values
        assert values.shape == (192, 256) and np.allclose(values, shade / 255)
    assert gpu.asked[0] == (8, 256) and gpu.asked[-1] == (batch, side)
    assert len(engine.notices) == len(said)
    for notice, text in zip(engine.notices, said, strict=True):
        assert notice.endswith((f"now {text}", f"now maps of {text}"))


def test_a_gpu_without_any_memory_leaves_the_work_to_the_cpu(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(model, monkeypatch, Small(0, 0, late=False))
    image = picture()
    on_cpu = Engine(EngineSettings(model, "cpu", size=256, backend="torch"))(image)
    assert np.array_equal(engine(image).values, on_cpu.values)
    assert engine.notices[-1].endswith("now the CPU") and engine.size == 256


def test_what_cannot_be_compiled_runs_as_it_is(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Small(8, 256, late=False)
    engine = on_gpu(model, monkeypatch, gpu, compiled=True)
    image = picture()
    assert np.allclose(engine(image).values, image[0, 0, 0] / 255)
    [notice] = engine.notices
    assert notice == "torch cuda failed (no C compiler): now without torch.compile"
    assert gpu.nets == [True, False]


def test_one_network_and_its_graphs_serve_all_files(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Small(8, 256, late=False)
    engine = on_gpu(model, monkeypatch, gpu)
    for size in ((90, 120), (64, 96), (90, 120)):
        list(engine.stream(Frames([picture(*size)]), depth=3))
    assert len(gpu.nets) == 1 and len(gpu.asked) == 2
    engine.close()
    engine(picture())
    assert len(gpu.nets) == 2


@pytest.mark.parametrize("backends", [1, MAX_ON_GPU])
def test_backends_of_other_sizes_make_room_before_less_is_asked_for(
    model: str, monkeypatch: pytest.MonkeyPatch, backends: int
) -> None:
    gpu = Small(8, 256, late=False, backends=backends)
    engine = on_gpu(model, monkeypatch, gpu)
    for size in ((90, 120), (64, 96), (96, 96), (90, 120)):
        list(engine.stream(Frames([picture(*size)]), depth=3))
    assert not engine.notices and {batch for batch, _ in gpu.asked} == {8}
    assert len(gpu.alive) <= backends


def test_a_full_gpu_is_known_behind_the_error_that_follows() -> None:
    after = RuntimeError("capturing stream has unjoined work")
    assert not is_short_of_memory(after)
    after.__context__ = torch.OutOfMemoryError(FULL)
    assert is_short_of_memory(after)


@pytest.mark.parametrize("when", ["made", "run"])
def test_a_map_that_is_not_finite_is_redone_on_the_cpu_where_the_gpu_has_no_room(
    model: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    image = picture()
    on_cpu = Engine(EngineSettings(model, "cpu", size=256, backend="torch", precision="fp32"))(image)
    engine = on_gpu(model, monkeypatch, Small(8, 256, late=False))
    monkeypatch.setattr(_OnGpu, "start", lambda self, image: lambda: _not_finite(self.size))

    def exact(*args: object) -> Any:
        if when == "made":
            raise torch.OutOfMemoryError(FULL)
        close = _raising("a lost device cannot even be waited for")
        return SimpleNamespace(name="torch cuda fp32", depth=1, start=_raising(FULL), close=close)

    monkeypatch.setattr(engine.factory, "_reference_on_gpu", exact)
    for _ in range(MAX_REDONE + 1):
        assert np.array_equal(engine(image).values, on_cpu.values)
    assert engine.notices[0].endswith("not finite: redone in fp32")


def _not_finite(size: tuple[int, int]) -> np.ndarray:
    return np.full(size[::-1], np.nan, np.float32)


def test_on_a_cpu_nothing_is_compiled(model: str) -> None:
    engine = Engine(EngineSettings(model, "cpu", backend="torch", compiled=True))
    assert engine(picture()).values.shape == (90, 120)
    assert engine.notices == ["torch.compile is for a GPU: left out"]


def test_live_pictures_are_never_kept_for_a_batch(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Small(8, 256, late=False)
    engine = on_gpu(model, monkeypatch, gpu)
    frames, seen = Frames([picture(seed=seed) for seed in range(3)]), []
    for frame, _ in engine.stream(_watched(frames, seen), depth=1):
        assert seen[-1] == frame.index
    assert gpu.asked == [(1, 128)]


def _watched(frames: Frames, seen: list[int]) -> Any:
    for frame in frames:
        seen.append(frame.index)
        yield frame


@pytest.mark.needs_cuda
@pytest.mark.parametrize("size", [(720, 1280), (161, 121)])
@pytest.mark.parametrize("name", ["lite", "standard"])
@pytest.mark.parametrize(("way", "batch"), [("graph", 1), ("graph", 2), ("eager", 1), ("compiled", 2)])
def test_cuda_equals_the_reference(name: str, way: str, batch: int, size: tuple[int, int]) -> None:
    if way == "compiled" and (name, size) != ("lite", (161, 121)):
        pytest.skip("takes half a minute: once is enough")
    net, info = checkpoint.load(checkpoint.find(name)[0])
    frame_size = (size[1], size[0])
    small = network_size(frame_size, info.size)
    on_gpu = CudaNet(InferenceNet(net, info.scale), compiled=way == "compiled")
    backend = CudaBackend(on_gpu, frame_size, small, batch=batch, graph=way != "eager")
    images = [picture(*size, seed) for seed in range(3)]
    pending = [backend.start(image) for image in images]
    for finish, wanted in zip(pending, reference(name, images, small), strict=True):
        difference = np.abs(finish() - wanted)
        assert difference.max() < 2e-2 and difference.mean() < 1e-3
    backend.close()


@pytest.mark.needs_cuda
def test_cuda_engine_runs_on_a_thread_and_matches_the_cpu(model: str) -> None:
    images = [picture(360, 640, seed) for seed in range(8)]
    maps: list[np.ndarray] = []

    def run() -> None:
        engine = Engine(EngineSettings(model, "cuda"))
        stream = engine.stream(Frames(images), depth=2)
        maps.extend(blur.at(frame.size).values for frame, blur in stream)
        engine.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    on_cpu = Engine(EngineSettings(model, "cpu", backend="torch"))
    for image, values in zip(images, maps, strict=True):
        assert np.abs(values - on_cpu(image).values).max() < 3e-2


@pytest.mark.needs_cuda
def test_cuda_out_of_memory_goes_to_the_cpu(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CudaBackend, "__init__", full)
    engine = Engine(EngineSettings(model, "cuda"))
    assert engine(picture()).values.shape == (90, 120)
    assert any(notice.endswith("now the CPU") for notice in engine.notices)
