"""What a window is opened with; no Qt here, so that a command can say it without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sinks.sink import FileSink
from br2focus.realtime.sources.live.open import LiveOptions, open_live
from br2focus.realtime.sources.source import Source
from br2focus.realtime.video_info import SourceInfo

Sinks = Callable[[SourceInfo, Callable[[], ViewSettings]], Sequence[FileSink]]


def no_sinks(info: SourceInfo, settings: Callable[[], ViewSettings]) -> Sequence[FileSink]:
    """Nothing is written from the start."""
    return ()


@dataclass(frozen=True)
class Start:
    """What a window shows first.

    Attributes:
        source: as `open_live` takes it.
        settings: of the view.
        folder: for takes and snapshots.
        options: of live sources.
        sinks: makes what is written from the first picture on, until the window closes; given what is known
            of the source, and a function that says how the view is set at that moment.
        duration: seconds from the first picture until it closes by itself, None = never.
        open_source: opens a source; another one in tests.
    """

    source: str
    settings: ViewSettings
    folder: Path
    options: LiveOptions = field(default_factory=LiveOptions)
    sinks: Sinks = no_sinks
    duration: float | None = None
    open_source: Callable[[str, LiveOptions], Source] = open_live
