"""Broken timestamps, on lists short enough to check by eye."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from br2focus.realtime.sources.timestamps import WRAP, TimestampRepair

MS = Fraction(1, 1000)


def repaired(times: list[int | None], *, step: int = 40) -> tuple[list[int], TimestampRepair]:
    repair = TimestampRepair(step=Fraction(step), time_base=MS, origin=times[0])
    return [repair(time) for time in times], repair


@pytest.mark.parametrize(
    ("times", "expected", "count"),
    [
        ([0, 40, 80], [0, 40, 80], 0),
        ([10_000, 10_040, 10_050], [10_000, 10_040, 10_050], 0),  # an offset is kept
        ([-80, -40, 0, 40], [0, 40, 80, 120], 0),  # moved, not repaired
        ([0, 40, 40, 40, 80], [0, 40, 41, 42, 80], 2),
        ([2, 3, 5, 4, 6, 9, 8, 10], [2, 3, 5, 6, 7, 9, 10, 11], 4),
        ([None, None, None], [0, 40, 80], 3),
        ([0, None, 80], [0, 40, 80], 1),
        ([None, 0, 40], [0, 1, 40], 2),
        ([0, 40, 1 << 61, 120, 160], [0, 40, 80, 120, 160], 2),  # back on its own clock
        ([50_000, 50_040, 0, 40, 80], [50_000, 50_040, 50_080, 50_120, 50_160], 1),  # chained
        ([WRAP - 40, 0, 40], [WRAP - 40, WRAP, WRAP + 40], 1),
        ([0, 40, 30_000, 30_040], [0, 40, 30_000, 30_040], 0),  # a long gap is kept
        ([-(1 << 62), -(1 << 62) + 40], [0, 40], 0),
    ],
)
def test_repair(times: list[int | None], expected: list[int], count: int) -> None:
    got, repair = repaired(times)
    assert got == expected
    assert repair.repaired == count


def test_clean_times_give_no_notice_and_trouble_gives_one_line_each() -> None:
    assert not repaired([0, 40, 80])[1].notices
    _, repair = repaired([-40, 0, 20_000, 60_000, 5, 45])
    assert set(repair.notices) == {"shift", "gap", "jump"}
    assert repair.notices["gap"] == "a gap of 20.0 s in the timestamps"
    assert repair.shift == 40


def test_made_times_do_not_drift() -> None:
    repair = TimestampRepair(step=Fraction(1001, 30), time_base=MS)
    made = [repair(None) for _ in range(3001)]
    assert made[3000] == 100_100
    assert repair.missing == repair.repaired == 3001


def test_a_step_below_one_unit_still_increases() -> None:
    repair = TimestampRepair(step=Fraction(1, 25), time_base=Fraction(1))
    assert [repair(None) for _ in range(3)] == [0, 1, 2]


def test_a_missing_time_takes_the_decoding_time_where_it_fits() -> None:
    repair = TimestampRepair(step=Fraction(40), time_base=MS, origin=0)
    assert [repair(0, 0), repair(None, 55), repair(None, 20), repair(None, 9999)] == [*(0, 55, 95, 135)]


def test_any_list_comes_out_strictly_increasing_with_nothing_lost() -> None:
    times = [5, None, 5, -900_000, 1 << 40, None, 3, 3, 2, 100_000_000, -1, None]
    got, _ = repaired(times)
    assert len(got) == len(times)
    assert all(one < two for one, two in pairwise(got))
    assert got[0] >= 0
