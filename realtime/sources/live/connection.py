"""Connection state of a live source, and its timeouts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Connection state of a live source."""

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"
    FROZEN = "frozen"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True)
class Status:
    """Connection status of a live source.

    Attributes:
        state: the current state.
        since: value of `time.monotonic` at the last frame, or at the start before the first one.
        reason: why the source is not running, without secrets.
        reopened: how often it was reopened.
        abandoned: reads that never returned; their threads were abandoned.
        dropped: frames replaced by newer ones before they were read.
        damaged: damage reported by the source, over all connections.
    """

    state: State
    since: float
    reason: str = ""
    reopened: int = 0
    abandoned: int = 0
    dropped: int = 0
    damaged: int = 0


@dataclass(frozen=True)
class ReconnectPolicy:
    """Timeouts and retry delays of a live source, in seconds.

    Attributes:
        opening: time after which opening counts as failed.
        stall: time without a frame after which the source counts as stalled.
        frozen: time with identical images after which the source counts as frozen; None = never (for a static
            test image).
        absent: retry delay while the source is absent, which is detected immediately; applies for the first
            `SOON` seconds.
        first, longest: delay before the first retry after a fault, doubled with each retry, and its upper
            limit.
        good: duration of good frames after which the retry delay starts small again.
        retry_for: time since the last frame after which the source is declared lost. None = never, except
            that a source that has never delivered a frame is lost at its first failure.
    """

    opening: float = 5.0
    stall: float = 2.0
    frozen: float | None = 3.0
    absent: float = 0.3
    first: float = 0.5
    longest: float = 10.0
    good: float = 10.0
    retry_for: float | None = None
