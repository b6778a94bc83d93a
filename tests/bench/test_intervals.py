"""The interval of a median over rounds, and what it says about a goal."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import comb
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Import = Callable[[str], Any]


@pytest.fixture
def intervals(benchmark_module: Import) -> Any:
    """The benchmark's module of intervals."""
    return benchmark_module("intervals")


def test_the_ranks_of_published_tables(intervals: Any) -> None:
    """The ranks are those of the tables for the 95 % sign-test interval."""
    assert [intervals.rank(n) for n in range(16)] == [0] * 6 + [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert (intervals.rank(20), intervals.rank(25), intervals.rank(30)) == (6, 8, 10)


def test_an_interval_holds_the_median_as_often_as_it_says(intervals: Any) -> None:
    """Over all outcomes of ten rounds, 97.9 % of intervals hold the median, and 95 % at least."""
    inside = 0
    for above in itertools.product((-1.0, 1.0), repeat=10):
        found = intervals.middle(above)
        inside += found.low < 0 < found.high

    assert inside == 2**10 - 2 * (comb(10, 0) + comb(10, 1))
    assert inside / 2**10 == pytest.approx(0.978515625)


def test_the_median_and_the_interval_of_ten_rounds(intervals: Any) -> None:
    """Ten rounds have the second smallest and the second largest as their interval."""
    rounds = [1.05, 1.01, 1.52, 1.06, 1.04, 0.76, 1.07, 1.03, 1.02, 1.08]

    assert intervals.Middle(1.045, 1.01, 1.08, 0.76, 1.52, 10) == intervals.middle(rounds)


def test_few_rounds_have_no_interval(intervals: Any) -> None:
    """Five rounds have a median and a range, and no interval; none have nothing."""
    assert intervals.Middle(3.0, None, None, 1.0, 5.0, 5) == intervals.middle([5, 4, 3, 2, 1])
    with pytest.raises(ValueError, match="no rounds"):
        intervals.middle([])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_an_interval_is_around_the_median(intervals: Any, rounds: list[float]) -> None:
    """The interval lies within the range and around the median, and no order of rounds matters."""
    found = intervals.middle(rounds)

    assert found == intervals.middle(rounds[::-1])
    if found.low is not None:
        assert found.smallest <= found.low <= found.median <= found.high <= found.largest


@pytest.mark.parametrize(
    ("rounds", "goal", "at_least", "expected"),
    [
        ([1.0] * 9 + [2.0], 1.0, False, "reached"),
        ([1.0] * 8 + [2.0] * 2, 1.0, False, "reached within noise"),
        ([1.0] * 4 + [2.0] * 6, 1.5, False, "missed"),
        ([1.0] * 5, 1.0, False, "reached within noise"),
        ([2.0] * 9 + [1.0], 2.0, True, "reached"),
        ([2.0] * 8 + [1.0] * 2, 2.0, True, "reached within noise"),
        ([2.0] * 4 + [1.0] * 6, 1.5, True, "missed"),
    ],
)
def test_when_a_goal_is_reached(
    intervals: Any, rounds: list[float], goal: float, at_least: bool, expected: str
) -> None:
    """A goal is reached with the whole interval, within noise with the median, or missed."""
    found = intervals.middle(rounds)

    assert expected == intervals.verdict(found, goal, at_least=at_least)
