"""A bounded queue between two threads that can be closed or cancelled and carries errors.

>>> channel = Channel(2)
>>> channel.put(1), channel.put(2)
(True, True)
>>> channel.close()
>>> list(channel)
[1, 2]
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded queue with one producer and one consumer.

    `cancel` stops the producer and ``close(error)`` passes an error to the consumer. There is no sentinel, no
    polled flag and no time-out.

    Args:
        capacity: maximum number of waiting items.
        drop: when the queue is full, replace the oldest item (live sources) instead of blocking (files).
    """

    def __init__(self, capacity: int, *, drop: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is at least 1, got {capacity}")
        self._capacity, self._drop = capacity, drop
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._cancelled = False
        self._error: BaseException | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Number of items replaced before they were read."""
        return self._dropped

    @property
    def ended(self) -> bool:
        """True if the channel is closed and every item has been read."""
        with self._changed:
            return self._closed and not self._items

    def put(self, item: T, *, keep: bool = False) -> bool:
        """Queue ``item``; block while the queue is full unless the channel drops items.

        Args:
            item: the item for the consumer.
            keep: block even if the channel drops items, because no newer item will follow.

        Returns:
            False if the consumer has cancelled the channel, else True.
        """
        with self._changed:
            if self._closed:
                raise ValueError("put after close")
            if keep or not self._drop:
                self._changed.wait_for(lambda: self._cancelled or len(self._items) < self._capacity)
            if self._cancelled:
                return False
            if len(self._items) == self._capacity:
                self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self, error: BaseException | None = None) -> None:
        """Mark the producer as done: the consumer drains the queue, then stops or raises ``error``."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """Mark the consumer as gone: a blocked `put` returns and waiting items are discarded."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed or self._cancelled)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None and not self._cancelled:
                raise self._error
            raise StopIteration
