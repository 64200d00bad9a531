"""A network on a GPU, shared by the backends of all sizes of frames."""

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


MAX_COMPILED = 1024  # a step is compiled for each of four taps, of each size and batch


class CudaNet:
    """A network on a GPU: it serves backends of every size, one after the other, in any thread.

    Args:
        net: the network; it is moved to ``device`` in ``dtype``.
        device: such as "cuda" or "cuda:1".
        dtype: float16, or float32 for the exact form.
        compiled: let `torch.compile` write the kernels between the convolutions; at the first call of each
            size it takes up to a minute, and a C compiler.
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
        if device == "cuda":  # which one that means is set for each thread
            self.device = torch.device("cuda", 0)
        net = in_precision(net.to(self.device), dtype)
        self.detail = isinstance(net, DetailNet)
        # The forms and streams of `TwoStreams` do not know the evidence yet.
        plain = dtype == torch.float32 or self.detail
        compiled = compiled and not self.detail
        self.run: Callable[..., Tensor] = net if plain else TwoStreams(net, compiled=compiled)
        self.compiled = compiled
        if self.device.type == "cuda":
            # Weights were written on a stream that others do not wait for.
            torch.cuda.current_stream(self.device).synchronize()
        # cuDNN looks for the best kernel of each convolution again in every new thread, which takes seconds.
        self._worker = _Worker("cuda")
        if compiled:
            self.name += " compiled"
            self.prepare(_allow_many_sizes)  # in the thread that compiles: the setting is for that one

    @cached_property
    def streams(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream]:
        """For upload, computing and download: PyTorch has 32, then it gives the first ones out again."""
        with torch.cuda.device(self.device):
            return _stream(), _stream(), _stream()

    def prepare(self, job: Callable[[], None]) -> None:
        """Do ``job``, which runs the network for the first time, in the thread that knows its kernels."""
        self._worker.do(job)


class _Worker:
    """One thread for jobs in turn; the end of the program does not wait for it, as for an executor's."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()

    def do(self, job: Callable[[], None]) -> None:
        """Wait for ``job``; its error is raised here."""
        done: Future[None] = Future()
        self._jobs.put((job, done))
        try:
            done.result()
        finally:
            del done  # its error has this frame, and this frame it: what failed would keep its memory

    def __del__(self) -> None:
        self._jobs.put(None)


def _work(jobs: SimpleQueue[tuple[Callable[[], None], Future[None]] | None]) -> None:
    while (order := jobs.get()) is not None:
        job, done = order
        try:
            done.set_result(job())
        except BaseException as error:
            done.set_exception(error)
        del order, job, done  # what they hold is let go while this waits


def _allow_many_sizes() -> None:
    """For more sizes than the limit, nothing would be compiled any more, without a word."""
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = MAX_COMPILED
