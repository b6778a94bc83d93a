"""Statistics checked against other libraries, textbooks and enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lrtrack.stats.intervals import SEED, interquartile_mean, interval, median_time
from lrtrack.stats.significance import Sample, holm, p_improvement, p_value

#: As many as Agarwal et al. (2021) have on Atari 100k: 5 runs on 26 games.
RUNS, TASKS = 5, 26


@pytest.fixture(scope="module")
def scores():
    """The scores of two algorithms, each of shape (runs, tasks), skewed and with ties."""
    rng = np.random.default_rng(7)
    return [np.round(rng.lognormal(mean, 0.7, (RUNS, TASKS)), 1) for mean in (0.0, 0.3)]


def _sample(values, seeds=None):
    kept = tuple(map(float, values))
    return Sample(kept, tuple(seeds) if seeds else (None,) * len(kept))


def test_the_interquartile_mean_is_rliables(scores):
    """The interquartile mean equals rliable's, over 5 × 26 scores and over the 5 of each task."""
    metrics = pytest.importorskip("rliable.metrics")
    one = scores[0]

    for part in (one, *one.T):
        expected = pytest.approx(metrics.aggregate_iqm(part), rel=1e-14)
        assert expected == interquartile_mean(part.ravel())


def test_the_probability_of_improvement_is_rliables(scores):
    """rliable's probability of improvement is the mean of ours over tasks, in both directions."""
    metrics = pytest.importorskip("rliable.metrics")
    one, other = scores
    columns = list(zip(one.T, other.T, strict=True))
    larger = [p_improvement(_sample(x), _sample(y), "max") for x, y in columns]
    smaller = [p_improvement(_sample(x), _sample(y), "min") for x, y in columns]

    expected = metrics.probability_of_improvement(one, other)
    assert pytest.approx(expected, rel=1e-12) == np.mean(larger)
    assert pytest.approx(1.0 - expected, rel=1e-12) == np.mean(smaller)


def test_the_interval_by_efrons_formulas(scores):
    """The interval of 130 scores agrees with Efron's (1987) formulas for bias and acceleration."""
    values = scores[0].ravel()
    draws = np.random.default_rng(99).choice(values, (20_000, values.size)).mean(axis=1)
    bias = stats.norm.ppf(np.mean(draws < values.mean()) + np.mean(draws == values.mean()) / 2)
    left_out = (values.sum() - values) / (values.size - 1)
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6.0 * (away**2).sum() ** 1.5)
    shifted = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(draws, stats.norm.cdf(bias + shifted / (1.0 - acceleration * shifted)))

    assert interval(values) == pytest.approx((low, high), abs=0.04 * (high - low))


@pytest.mark.parametrize("size", [5, 10, 26, 130])
def test_the_interval_is_scipys(scores, size):
    """The interval equals scipy's BCa interval of the sorted values at every sample size."""
    values = np.sort(scores[1].ravel()[:size])
    rng = np.random.default_rng(SEED)
    expected = stats.bootstrap((values,), np.mean, method="BCa", rng=rng).confidence_interval

    assert tuple(expected) == interval(values)


def test_kaplan_and_meier_by_hand():
    """For times 1, 3+, 4, 5, 6+, 8, 9 the curve is 6/7, 24/35, 18/35, 9/35, 0; the median is 8."""
    assert median_time([1.0, 4.0, 5.0, 8.0, 9.0], [3.0, 6.0]) == 8.0


def test_kaplan_and_meier_where_few_reach():
    """Of Freireich's (1963) 21 patients under 6-MP 9 relapsed: fewer than half, so no median."""
    relapsed = [6.0, 6.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0]
    censored = [6.0, 9.0, 10.0, 11.0, 17.0, 19.0, 20.0, 25.0, 32.0, 32.0, 34.0, 35.0]

    assert median_time(relapsed, censored) is None


def test_holm_by_hand():
    """Holm multiplies 0.005, 0.01, 0.03, 0.04 by 4, 3, 2, 1 and never decreases."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=8))
def test_the_paired_test_by_enumeration(pairs):
    """The paired p-value is the share of all 2**n swaps with at least this difference."""
    one, other = zip(*pairs, strict=True)
    seeds = range(len(pairs))
    found = p_value(_sample(one, seeds), _sample(other, seeds), "min")
    differences = np.subtract(one, other)
    signs = np.array(list(itertools.product((1, -1), repeat=len(pairs))))
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()))

    assert found == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(*[st.lists(st.integers(-9, 9), min_size=2, max_size=5) for _ in range(2)])
def test_the_unpaired_test_by_enumeration(one, other):
    """The unpaired p-value is twice the smaller tail over all splits of the values."""
    pooled = np.array([*one, *other])
    splits = [list(at) for at in itertools.combinations(range(pooled.size), len(one))]
    sums = np.array([pooled[at].sum() for at in splits])  # one side's sum decides the difference
    seen = sum(one)
    expected = min(1.0, 2.0 * min(np.mean(sums <= seen), np.mean(sums >= seen)))

    assert pytest.approx(expected) == p_value(_sample(one), _sample(other), "max")
