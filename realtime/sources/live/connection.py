"""The state of a live source, and how long it is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a live source is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"
    FROZEN = "frozen"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True)
class Status:
    """The state of a live source.

    Attributes:
        state: now.
        since: `time.monotonic` of the last frame, or of the start before the first one.
        reason: why it is not running, without secrets.
        reopened: how often it was opened again.
        abandoned: reads that never returned, whose threads were left behind.
        dropped: frames replaced by newer ones before they were taken.
        damaged: what the source counted as damaged, in all openings.
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
    """How long a live source waits for what; seconds.

    Attributes:
        opening: until opening counts as failed.
        stall: without a frame until the source counts as stalled.
        frozen: of the very same picture until it counts as frozen, None = never (a still test picture).
        absent: pause before the next attempt where nothing was there, which is told at once; for the first
            `SOON` seconds.
        first, longest: pause before the first attempt after a fault, doubled each time, and its limit.
        good: of frames until the pause begins small again.
        retry_for: after the last frame until the source is given up. None: for ever, but a source that
            never gave a frame is given up at its first failure.
    """

    opening: float = 5.0
    stall: float = 2.0
    frozen: float | None = 3.0
    absent: float = 0.3
    first: float = 0.5
    longest: float = 10.0
    good: float = 10.0
    retry_for: float | None = None
