"""A network on a GPU, shared by the backends for all frame sizes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from queue import SimpleQueue

import torch
from torch import Tensor

from br2focus.models.fast import InferenceNet
from br2focus.models.fast_detail import DetailNet, in_precision

from .two_streams import TwoStreams


def _stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


MAX_COMPILED = 1024  # each step is compiled for four taps, and for each size and batch


class CudaNet:
    """A network on a GPU that serves backends of any size, one at a time, from any thread.

    Args:
        net: the network; it is moved to ``device`` and converted to ``dtype``.
        device: such as "cuda" or "cuda:1".
        dtype: float16, or float32 for exact results.
        compiled: let `torch.compile` generate the kernels between the convolutions. The first call of each
            size takes up to a minute and needs a C compiler.
    """

    def __init__(
        self,
        net: InferenceNet,
        device: str = "cuda",
        *,
        dtype: torch.dtype = torch.float16,
        compiled: bool = False,
    ) -> None:
        self.name = f"torch {device} {'fp16' if dtype == torch.float16 else 'fp32'}"
        self.device = torch.device(device)
        if device == "cuda":  # the meaning of "cuda" can differ between threads
            self.device = torch.device("cuda", 0)
        net = in_precision(net.to(self.device), dtype)
        self.detail = isinstance(net, DetailNet)
        # `TwoStreams` does not support networks with ``detail`` yet.
        plain = dtype == torch.float32 or self.detail
        compiled = compiled and not self.detail
        self.run: Callable[..., Tensor] = net if plain else TwoStreams(net, compiled=compiled)
        self.compiled = compiled
        if self.device.type == "cuda":
            # Weights were written on a stream that other streams do not wait for.
            torch.cuda.current_stream(self.device).synchronize()
        # cuDNN searches for the best convolution kernels again in every new thread, which takes seconds.
        self._worker = _Worker("cuda")
        if compiled:
            self.name += " compiled"
            self.prepare(_allow_many_sizes)  # the setting is per thread, so set it in the compiling one

    @cached_property
    def streams(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream]:
        """Streams for upload, computation and download; cached, as PyTorch cycles through 32 streams."""
        with torch.cuda.device(self.device):
            return _stream(), _stream(), _stream()

    def prepare(self, job: Callable[[], None]) -> None:
        """Run ``job``, which runs the network for the first time, in the thread that knows its kernels."""
        self._worker.do(job)


class _Worker:
    """A thread that runs jobs one after the other; unlike an executor's, it does not block program exit."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()

    def do(self, job: Callable[[], None]) -> None:
        """Run ``job`` and wait for it; its error is raised here."""
        done: Future[None] = Future()
        self._jobs.put((job, done))
        try:
            done.result()
        finally:
            del done  # breaks the cycle of error and frame, which would keep the memory of a failed job

    def __del__(self) -> None:
        self._jobs.put(None)


def _work(jobs: SimpleQueue[tuple[Callable[[], None], Future[None]] | None]) -> None:
    while (order := jobs.get()) is not None:
        job, done = order
        try:
            done.set_result(job())
        except BaseException as error:
            done.set_exception(error)
        del order, job, done  # releases what they hold while this thread waits


def _allow_many_sizes() -> None:
    """Raise the recompilation limit, beyond which PyTorch silently stops compiling."""
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = MAX_COMPILED
