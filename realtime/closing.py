"""What is closed when its block is left."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """The context manager half of whatever has a `close`: it is called at the end, come what may."""

    def close(self) -> None:
        """Release what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
