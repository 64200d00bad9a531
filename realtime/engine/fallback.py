"""Fallbacks after a failure: less load on the GPU, then the CPU, finally PyTorch on the CPU.

Each step adds a notice. No frame is lost: it is restarted on the next backend.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np

from br2focus.realtime.errors import ComputeError, first_line
from br2focus.realtime.frame import Image, Values

from .backend_cache import BackendCache
from .backends import Backend, Pending
from .factory import BackendFactory
from .load import FAULTS, Load, full_batch, is_short_of_memory
from .selection import REFERENCE, BackendSpec

MAX_REDONE = 3  # non-finite results after which the backend is abandoned


class Fallback:
    """Provides working backends and replaces failing ones.

    Args:
        factory: creates backends.
        cache: stores backends.
        notify: receives messages for the user.
    """

    def __init__(self, factory: BackendFactory, cache: BackendCache, notify: Callable[[str], None]) -> None:
        self._factory, self._cache, self._notify = factory, cache, notify
        self._placement = factory.placement

    def backend(self, frame_size: tuple[int, int]) -> Backend:
        """Return the backend for frames of ``frame_size`` (width, height), creating it if needed.

        Raises:
            ComputeError: nothing on this computer can run the network.
        """
        return self._cache.get(frame_size, self._make)

    def start(self, picture: Image) -> tuple[Backend, Pending]:
        """Start ``picture`` on the first backend that accepts it.

        Raises:
            ComputeError: nothing on this computer can run the network.
        """
        while True:
            backend = self.backend(_size(picture))
            try:
                return backend, backend.start(picture)
            except FAULTS as error:
                self.on_backend_failure(backend, error, picture)

    def on_backend_failure(self, failed: Backend, error: Exception, picture: Image) -> None:
        """Change the placement, so that the next backend is a different one.

        Several frames in flight may fail together; only the first failure changes anything.

        Raises:
            ComputeError: there is nothing left to try.
        """
        if failed not in self._cache:
            return
        if failed.name == REFERENCE.name:
            raise ComputeError(f"the network failed: {first_line(error)}") from error
        self.release()
        if not self._placement.on_cpu:
            self._degrade_gpu(failed.name, error, _size(picture))
            return
        self._placement.spec = REFERENCE
        self._notify(f"{failed.name} failed ({first_line(error)}): now PyTorch on the CPU")

    def finite(self, values: Values, picture: Image, device: str) -> Values:
        """Return ``values`` if they are finite, else the result of ``picture`` in float32.

        Raises:
            ComputeError: the float32 result is not finite either, or cannot be computed.
        """
        if np.isfinite(values).all():
            return values
        self._placement.redone += 1
        if self._placement.redone == 1:
            self._notify(f"{device} gave a result that is not finite: redone in fp32")
        try:
            values = self._factory.reference(_size(picture)).start(picture)()
        except FAULTS as error:  # it was created but could not run
            if self._placement.on_cpu:
                raise ComputeError(f"the network failed: {first_line(error)}") from error
            values = self._factory.on_cpu(REFERENCE, _size(picture), depth=1).start(picture)()
        if not np.isfinite(values).all():
            name = self._factory.info.name
            raise ComputeError(f"the model {name!r} gives results that are not finite")
        if self._placement.redone == MAX_REDONE:
            self.release()  # from now on `_make` returns the reference
        return values

    def release(self) -> None:
        """Close the backends and release GPU memory; everything is recreated when needed."""
        self._cache.close()
        self._factory.release()

    def _make(self, frame_size: tuple[int, int], any_frame: bool) -> Backend:
        """Create the best backend that starts."""
        if self._placement.redone >= MAX_REDONE:
            return self._factory.reference(frame_size)
        while not self._placement.on_cpu:
            try:
                return self._factory.on_gpu(frame_size)
            except FAULTS as error:  # out of memory, a lost driver, a failed capture
                if len(self._cache) and is_short_of_memory(error):
                    self._cache.close()  # idle ones of other frame sizes
                else:
                    self._degrade_gpu(f"torch {self._placement.device}", error, frame_size)
            gc.collect()  # the error is in a reference cycle, which holds its GPU memory
        spec, depth = self._spec(), self._placement.frames_in_flight
        try:
            return self._factory.on_cpu(spec, frame_size, depth=depth, any_frame=any_frame)
        except (ImportError, *FAULTS) as error:
            if spec == REFERENCE:
                raise ComputeError(f"the network failed: {first_line(error)}") from error
            self._placement.spec = REFERENCE
            self._notify(f"{spec.name} failed ({first_line(error)}): computing with PyTorch")
        return self._factory.on_cpu(REFERENCE, frame_size, depth=1)

    def _spec(self) -> BackendSpec:
        """Return what to run on the CPU; selected on first use."""
        if self._placement.spec is None:
            self._placement.spec = self._factory.select()
            selection = self._factory.selection
            for name, reason in ({} if selection is None else selection.failed).items():
                self._notify(f"{name} failed ({reason}): left out")
        return self._placement.spec

    def _degrade_gpu(self, name: str, error: Exception, frame_size: tuple[int, int]) -> None:
        """Reduce the load of a GPU that is short of memory, or switch to the CPU.

        The CPU is used after the smallest load, or after any other failure; a compiled network is first
        retried without `torch.compile`.
        """
        placement, short = self._placement, is_short_of_memory(error)
        failed = f"{name} failed ({first_line(error)})"
        if placement.compiled and not short and not name.endswith("fp32"):
            placement.compiled = False
            self._factory.release()
            self._notify(f"{failed}: now without torch.compile")
            return
        if short:
            placement.release_tenants()
        full = self._factory.full_size
        less = placement.load.less(full, full_batch(frame_size)) if short else None
        if less is None:
            self._cache.close()  # those of other frame sizes
            self._factory.release()
            placement.device, instead = "cpu", "the CPU"
        else:
            instead = less.smaller_than(placement.load, full)
        placement.load = less or Load()
        self._notify(f"{failed}: now {instead}")


def _size(picture: Image) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
