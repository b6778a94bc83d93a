"""Distributions of the largest of several differences, checked against scipy and tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lrtrack.stats import studentized
from lrtrack.stats.studentized import modulus_p, modulus_t, range_p, range_t


@pytest.mark.parametrize("means", [2, 3, 12, 100])
@pytest.mark.parametrize("df", [1.0, 2.0, 4.5, 22.0, 1000.0])
def test_the_range_is_scipys(means, df):
    """The quantile of the studentized range has scipy's probability."""
    q = math.sqrt(2.0) * range_t(means, df)

    assert stats.studentized_range.sf(q, means, df) == pytest.approx(0.05, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 50.0), st.floats(1.0, 1e5))
def test_two_means_are_students_t(t, df):
    """With two means, and with one mean against a baseline, p is that of Student's t test."""
    expected = pytest.approx(2.0 * stats.t.sf(t, df), abs=1e-8)

    assert expected == range_p(t, 2, df)
    assert expected == modulus_p(t, 1, 0.0, df)


def test_a_known_spread():
    """With infinitely many degrees of freedom, the quantile is that of normal values."""
    assert range_t(2, math.inf) == pytest.approx(stats.norm.ppf(0.975), abs=1e-7)
    assert range_p(math.inf, 3, 5.0) == 0.0


def test_dunnetts_table():
    """Two-sided 5 % points of Dunnett (1964): 2.59 and 2.95 for 3 and 9 means, 16 and 20 df."""
    assert round(modulus_t(3, 0.5, 16.0), 2) == 2.59
    assert round(modulus_t(9, 0.5, 20.0), 2) == 2.95


def test_the_interpolation_is_centred():
    """Between two widths, the cubic is through the two before and the two after them.

    It differs from w⁴ by the product of the distances to those four, and from a cubic by nothing.
    """
    widths = np.linspace(0.0, 16.0, 801)
    middles = (widths[1:-2] + widths[2:-1]) / 2.0
    for power, error in ((3, 0.0), (4, 0.01**2 * 0.03**2)):
        curve = studentized._interpolated(widths, (widths / 32.0) ** power)
        differences = (middles / 32.0) ** power - curve(middles)
        assert differences == pytest.approx(error / 32.0**4, abs=1e-15)
    assert curve(np.array([0.0, 16.0, 20.0])).tolist() == [0.0, 0.0, 0.0]
