"""Collected learning rates: those of the surviving course, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.tracking import rate_curve
from lrtrack.tracking.rate_curve import RateCurve


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=8))
def test_returns_to_earlier_steps(courses: list[tuple[int, int]]) -> None:
    """Each step has the rate with which it was made last, without those that were abandoned."""
    curve, expected = RateCurve(), dict[int, float]()
    for course, (start, steps) in enumerate(courses):
        at = np.arange(start, start + steps)
        curve.add(at, at + 100.0 * course)
        expected = {step: rate for step, rate in expected.items() if step < start}
        expected |= {int(step): float(step + 100.0 * course) for step in at}
    steps, rates = curve.arrays()

    assert dict(zip(steps.tolist(), rates.tolist(), strict=True)) == expected
    assert steps.tolist() == sorted(expected)


def test_equal_rates_take_no_room() -> None:
    """Of rates that stay, the first and the last are kept."""
    curve = RateCurve()
    curve.add(np.arange(1000), np.repeat([0.1, 0.2], 500))

    assert [part.tolist() for part in curve.arrays()] == [[0, 499, 500, 999], [0.1, 0.1, 0.2, 0.2]]


def test_very_many_rates(monkeypatch) -> None:
    """A long training keeps a part of its rates, spread over all of its steps."""
    monkeypatch.setattr(rate_curve, "_MOST", 100)
    curve = RateCurve()
    for start in range(0, 10_000, 10):
        curve.add(np.arange(start, start + 10), np.arange(start, start + 10.0))
    steps, rates = curve.arrays()

    assert 50 <= steps.size <= 100
    assert steps[0] == 0
    assert (np.diff(steps) < 1_000).all()
    assert steps.tolist() == rates.tolist()
