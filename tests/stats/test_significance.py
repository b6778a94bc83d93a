"""Permutation tests and their correction."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lrtrack.stats.significance import Sample, fewest_p, holm, p_value, paired, smallest_p

ONE = (0.1, 0.2, 0.3)
OTHER = (0.4, 0.6, 0.8)


def _sample(values, seeds=None):
    return Sample(tuple(values), tuple(seeds) if seeds else (None,) * len(values))


def _difference(one, other, axis):
    return one.mean(axis=axis) - other.mean(axis=axis)


def test_unpaired_sides_that_do_not_overlap():
    """For 3 against 3 unpaired runs without overlap, 2 of 20 splits are as extreme."""
    assert p_value(_sample(ONE), _sample(OTHER), "min") == 0.1


def test_paired_sides_that_do_not_overlap():
    """For 3 paired seeds without overlap, 2 of 8 sign patterns are as extreme."""
    one, other = _sample(ONE, (0, 1, 2)), _sample(OTHER, (2, 0, 1))

    assert p_value(one, other, "min") == 0.25


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 1), (1, 0), True),
        ((0, 1), (0, 2), False),
        ((0, 1), (0, 1, 2), False),
        ((0, 0), (0, 0), False),
        ((0, None), (0, None), False),
    ],
)
def test_pairs_need_the_same_distinct_seeds(one, other, expected):
    """Runs are paired only if both sides ran the same seeds, once each."""
    sides = [_sample([1.0] * len(seeds), seeds) for seeds in (one, other)]

    assert expected == paired(*sides)


@settings(max_examples=25, deadline=None)
@given(*[st.lists(st.integers(-50, 50), min_size=2, max_size=5) for _ in range(2)])
def test_the_p_value_is_scipys(one, other):
    """The exact unpaired p-value equals scipy's for the same values."""
    expected = stats.permutation_test(
        (one, other), _difference, n_resamples=np.inf, vectorized=True
    ).pvalue

    assert expected == pytest.approx(p_value(_sample(one), _sample(other), "min"))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)))
def test_order_does_not_matter(order):
    """Pairs are matched by seed, not by position."""
    values, seeds = (0.3, 0.1, 0.9, 0.4), (0, 1, 2, 3)
    one = _sample([values[at] for at in order], [seeds[at] for at in order])
    other = _sample((0.5, 0.2, 1.3, 0.1), seeds)

    assert p_value(_sample(values, seeds), other, "min") == p_value(one, other, "min")


@pytest.mark.parametrize(("mode", "worst"), [("min", math.inf), ("max", -math.inf)])
def test_a_diverged_run_counts_as_worst(mode, worst):
    """Two diverged runs differ from two good ones as much as possible."""
    good = (1.0, 2.0)

    assert pytest.approx(p_value(_sample(good), _sample((worst, worst)), mode)) == 1 / 3


def test_nothing_but_diverged_runs_are_alike():
    """Two sides on which all runs diverged do not differ."""
    assert p_value(_sample([math.inf] * 3), _sample([math.inf] * 3), "min") == 1.0


def test_single_runs_are_not_tested():
    """With fewer than 2 runs on a side there is no p-value."""
    assert p_value(_sample([1.0]), _sample(OTHER), "min") is None
    assert smallest_p(_sample([1.0]), _sample(OTHER)) == 1.0


def test_many_runs_are_tested_by_random_splits():
    """With too many splits to enumerate, the test samples them reproducibly."""
    one, other = np.linspace(0.0, 1.0, 20), np.linspace(5.0, 6.0, 20)
    found = p_value(_sample(one), _sample(other), "min")

    assert found == p_value(_sample(one[::-1]), _sample(other), "min")
    assert 0.0 < found < 0.001


def test_fewest_p():
    """The smallest p-value is that of one split and its mirror."""
    assert fewest_p(3, 3, matched=True) == 0.25
    assert fewest_p(3, 3, matched=False) == 0.1


def test_holm():
    """Holm's method multiplies the smallest p-value by the number of tests, and never decreases."""
    found = holm([0.04, None, 0.01, 0.03])

    assert found[1] is None
    assert pytest.approx([found[0], found[2], found[3]]) == [0.06, 0.03, 0.06]


@given(st.lists(st.floats(0.0, 1.0) | st.none(), max_size=8))
def test_holm_keeps_order_and_bounds(values):
    """Corrected p-values are not smaller, at most 1, and in the same order."""
    pairs = [(p, c) for p, c in zip(values, holm(values), strict=True) if p is not None]

    assert all(p <= c <= 1.0 for p, c in pairs)
    assert sorted(c for _, c in pairs) == [c for _, c in sorted(pairs)]
