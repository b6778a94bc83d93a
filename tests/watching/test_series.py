"""Metrics of running trainings, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.watching import series
from lrtrack.watching.series import Series

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))


@given(st.lists(st.lists(NUMBERS, max_size=40), max_size=20))
def test_the_mean_of_all_points_is_that_of_all_values(batches: list[list[float]]) -> None:
    """Below the limit, every value is a point of its own, whatever batches they came in."""
    line, values = Series(), [value for batch in batches for value in batch]
    at = 0
    for batch in batches:
        line.add(np.arange(at, at + len(batch), dtype=float), np.array(batch, dtype=float))
        at += len(batch)
    steps, shown = line.points()

    assert list(steps) == list(range(len(values)))
    np.testing.assert_array_equal(shown, np.array(values, dtype=float))


def test_a_long_series_has_means_of_equal_stretches() -> None:
    """Ten times as many values as points become points that keep the curve, in order."""
    line, size = Series(), 10 * series.MOST
    for begin in range(0, size, 1000):
        steps = np.arange(begin, min(begin + 1000, size), dtype=float)
        line.add(steps, 2 * steps)
    steps, values = line.points()

    assert steps.size <= series.MOST + 1
    assert np.all(np.diff(steps) > 0)
    np.testing.assert_allclose(values, 2 * steps)


def test_a_return_removes_later_steps() -> None:
    """After a return to step 3, the points before it stay and new ones follow."""
    line = Series()
    line.add(np.arange(6.0), np.arange(6.0))
    line.rewind(3)
    line.add(np.array([3.0]), np.array([9.0]))
    steps, values = line.points()

    assert (list(steps), list(values)) == ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 9.0])


def test_gaps_do_not_spoil_means() -> None:
    """A missing value is left out of its stretch, and a stretch of missing values is a gap."""
    line = Series()
    values = np.ones(4 * series.MOST)
    values[1::2], values[:8] = np.nan, np.nan
    line.add(np.arange(values.size, dtype=float), values)
    _, shown = line.points()

    assert np.isnan(shown[0])
    assert set(shown[np.isfinite(shown)]) == {1.0}
