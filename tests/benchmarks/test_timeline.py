"""Where threads are: every thread of a file has a row of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure import timeline
from br2focus.realtime.channel import Channel
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings


def test_every_stage_of_a_file_has_a_row(
    make_clip: Callable[..., Path], tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Channel.put
    engine = Engine(EngineSettings(model, "cpu", backend="torch"))
    text = timeline.report(make_clip(tmp_path / "clip.mp4", frames=12), engine)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "|" in line]
    times = {name: [float(ms) for ms in values] for name, *values in rows[2:]}
    assert set(times) == {"capture", "infer", "smooth", "refine", "draw", "MainThread"}
    for work, cpu, _, _ in times.values():
        assert 0 <= cpu <= work + 0.1
    assert sum(work for work, *_ in times.values()) > 0
    assert "12 frames on cpu" in text and Channel.put is plain
