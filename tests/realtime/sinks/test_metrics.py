"""The three forms of a metrics file hold the same figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Frame, Roi
from br2focus.realtime.result import FocusResult
from br2focus.realtime.sinks import metrics
from br2focus.realtime.sinks.metrics import MetricsWriter

EYES = Roi("eyes", 0, 0, 5, 10)
ROWS = [
    {
        "index": index,
        "pts": 3003 * index,
        "seconds": 3003 * index / 90000,
        "in_focus_share": 0.5,
        "sharpness": 0.5,
        "eyes_sharpness": 0.75,
    }
    for index in range(5)
]


def results(count: int = 5) -> Iterable[FocusResult]:
    for index in range(count):
        blur = np.full((10, 10), 0.75, np.float32)
        blur[:, :5] = 0.25
        image = np.zeros((10, 10, 3), np.uint8)
        frame = Frame(image, index, 3003 * index, Fraction(1, 90000), 0.0)
        yield FocusResult(frame, BlurMap(blur))


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pyarrow.parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".CSV"])
def test_one_row_a_frame(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BATCH", 2)
    path = tmp_path / f"m{suffix}"
    with MetricsWriter(path, [EYES]) as sink:
        for result in results():
            sink.write(result)
    found = read(path.rename(path.with_suffix(suffix.lower())))
    assert found == ROWS
    assert list(found[0]) == list(ROWS[0])


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "m.csv") as sink:
        for result in results(2):
            sink.write(result)
    assert (tmp_path / "m.csv").read_bytes().splitlines()[2].startswith(b"1,3003,0.0333")


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.csv.*\.jsonl.*\.parquet"):
        MetricsWriter(tmp_path / "m.txt")
    assert not any(tmp_path.iterdir())


def test_roi_names_must_differ(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="differ"):
        MetricsWriter(tmp_path / "m.csv", [EYES, EYES])


def test_a_roi_outside_the_frame_is_a_settings_error(tmp_path: Path) -> None:
    sink = MetricsWriter(tmp_path / "m.csv", [Roi("far", 50, 0, 5, 5)])
    (result,) = results(1)
    with pytest.raises(SettingsError, match="outside"):
        sink.write(result)
    sink.abort()
    assert not any(tmp_path.iterdir())
