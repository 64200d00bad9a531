"""A cache of backends: one per frame size, with least-recently-used eviction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from br2focus.models.limits import frame_ratio, spacing_of
from br2focus.models.sizes import network_size

from .backends import Backend
from .factory import BackendFactory

MAX_ON_CPU, MAX_ON_GPU = 16, 2


class _Key(NamedTuple):
    """What a backend was created for.

    Attributes:
        size: size of the frame, or of the map if the network needs only that.
        spacing: evidence spacing of a backend that accepts frames of any size; None for a single size.
    """

    size: tuple[int, int]
    spacing: int | None = None


class BackendCache:
    """Caches backends by frame size.

    Args:
        factory: creates the backends.
    """

    def __init__(self, factory: BackendFactory) -> None:
        self._factory, self._placement = factory, factory.placement
        self._backends: dict[_Key, Backend] = {}  # least recently used first
        self._frame_size: tuple[int, int] | None = None  # of the current clip

    def __contains__(self, backend: Backend) -> bool:
        return backend in self._backends.values()

    def __len__(self) -> int:
        return len(self._backends)

    @property
    def depth(self) -> int:
        """How many frames the last-used backend accepts before the first must be finished."""
        return next(reversed(self._backends.values())).depth if self._backends else 1

    def get(self, frame_size: tuple[int, int], make: Callable[[tuple[int, int], bool], Backend]) -> Backend:
        """Return the backend for frames of ``frame_size`` (width, height).

        Args:
            make: creates a missing backend, from the size and whether it must also accept other frames with
                this aspect ratio.
        """
        key = self._key(frame_size)
        backend = self._backends.pop(key, None)
        if backend is None:
            most = MAX_ON_CPU if self._placement.on_cpu else MAX_ON_GPU
            while len(self._backends) >= most:
                self._backends.pop(next(iter(self._backends))).close()
            backend = make(frame_size, key.spacing is not None)
            key = self._key(frame_size)  # creating it may have changed the device
        if key.spacing is None:
            self._frame_size = frame_size
        self._backends[key] = backend
        return backend

    def close(self) -> None:
        """Close all backends."""
        backends, self._backends = self._backends, {}
        for backend in backends.values():
            with suppress(RuntimeError):  # waiting for a lost device fails
                backend.close()

    def _key(self, frame_size: tuple[int, int]) -> _Key:
        if not self._placement.on_cpu:
            return _Key(frame_size)
        size = network_size(frame_size, self._factory.size)
        if not self._factory.detail:
            return _Key(size)
        # A clip gets its own backend. Photographs of many sizes share one that accepts all of them.
        if self._backends and frame_size != self._frame_size:
            return _Key(size, spacing_of(frame_ratio(frame_size, size)))
        return _Key(frame_size)
