"""Spread over runs, intervals and times to a target."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lrtrack.stats import Reach, Spread, summarise
from lrtrack.stats.intervals import (
    grad_norm_of,
    interval,
    median_time,
    seconds_to_target,
    spread_of,
    steps_to_target,
)

FLOATS = st.floats(-1e12, 1e12, allow_subnormal=False)


def test_two_values():
    """Two values have an interval by the t distribution with 1 degree of freedom."""
    expected = Spread(2.0, math.sqrt(2.0), 2.0, None, 1.0, 3.0, (3.0, 1.0))
    found = spread_of([3.0, 1.0])

    assert expected == replace(found, ci95=None)
    assert found.ci95 == pytest.approx((2.0 - 12.7062047362, 2.0 + 12.7062047362))


def test_one_value():
    """A single value has no deviation."""
    assert Spread(3.0, None, 3.0, None, 3.0, 3.0, (3.0,)) == spread_of([3.0])


def test_no_value():
    """Without any value, only `values` is filled."""
    assert Spread(None, None, None, None, None, None, (None, None)) == spread_of([None, None])


def test_missing_values_keep_their_place():
    """A run without a value is excluded from the statistics but keeps its position in `values`."""
    found = spread_of([1.0, None, 3.0])

    assert found.mean == 2.0
    assert found.values == (1.0, None, 3.0)


def test_equal_values_have_no_interval():
    """Equal values show no spread, and have no interval."""
    assert interval(np.array([0.1] * 4)) is None
    assert spread_of([0.1] * 3).std == 0.0


@pytest.mark.parametrize("sample", [[0.1, 0.2], [1.0, 1.0, 2.0, 7.0], [3.0, -1.0, 2.0, 8.0]])
def test_the_interval_is_scipys(sample):
    """The interval is that of scipy's t test."""
    expected = stats.ttest_1samp(sample, 0.0).confidence_interval()

    assert interval(np.array(sample)) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    "sample", [[0.0, 0.0, 1e-300], [1.0, 1.0, 1.0 + 2e-16], [1e308, 1e308, -1e308]]
)
def test_degenerate_values_give_an_interval_or_none(sample):
    """The interval of extreme values is finite and around the mean, or None, without a warning."""
    found = interval(np.array(sample))

    assert found is None or found[0] <= float(np.mean(np.array(sample) / 3) * 3) <= found[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(FLOATS, min_size=3, max_size=7), st.randoms())
def test_order_changes_nothing_but_values(sample, random):
    """The order of runs changes neither statistics nor interval."""
    shuffled = random.sample(sample, len(sample))
    one, other = spread_of(sample), spread_of(shuffled)

    assert Spread(**{**vars(one), "values": tuple(shuffled)}) == other


def test_gradient_norms_are_pooled(make_history):
    """Median, 95th percentile and maximum are over the finite norms of all runs."""
    parts = [[*range(1, 51), math.nan], [math.inf, *range(51, 102)]]
    found = grad_norm_of([make_history({"grad_norm": part}) for part in parts])

    assert (found.median, found.p95, found.max) == (51.0, 96.0, 101.0)


def test_median_time_of_runs_that_all_reach():
    """Without censoring it is the plain median, for odd and even counts."""
    assert median_time([3.0, 10.0, 4.0], []) == 4.0
    assert median_time([100.0, 120.0], []) == 110.0


def test_median_time_with_censoring():
    """Censored runs raise the median; if fewer than half reach the target there is none."""
    assert median_time([4.0, 6.0], [5.0]) == 6.0
    assert median_time([3.0, 4.0], [10.0]) == 4.0
    assert median_time([3.0], [10.0, 10.0]) is None
    assert median_time([], []) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_median_time_is_the_median(times):
    """If every run reaches the target, the Kaplan-Meier median equals the plain median."""
    assert np.median(times) == median_time([float(time) for time in times], [])


def test_a_diverged_run_stays_at_risk(make_history):
    """A run that diverged early is not censored early, because it never reaches the target."""
    histories = [
        make_history({"loss": [9.0, math.nan]}, seed=0),
        make_history({"loss": [9.0, 9.0, 9.0, 1.0]}, seed=1),
        make_history({"loss": [9.0] * 5 + [1.0]}, seed=2),
    ]
    runs = [summarise(history, "loss", "min", 1.0) for history in histories]

    assert (steps_to_target(runs).reached, steps_to_target(runs).median) == (2, 5.0)
    assert seconds_to_target(runs).median == 5.0


def test_a_run_without_the_metric_says_nothing_of_the_target(make_history):
    """A run without the metric is not counted, neither as reached nor as censored."""
    histories = [
        make_history({"loss": [1.0]}, seed=0),
        make_history({"lr": [0.1] * 9}, seed=1),
        make_history({"lr": [0.1] * 9}, seed=2),
    ]
    found = steps_to_target([summarise(history, "loss", "min", 1.0) for history in histories])

    assert (found.reached, found.median) == (1, 0.0)


def test_the_interquartile_mean_needs_four_values():
    """The interquartile mean of eight values uses the middle four; three values have none."""
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0, 80.0]).iqm == 4.5
    assert spread_of([1.0, 2.0, 3.0]).iqm is None


def test_a_target_between_two_evaluations(make_history):
    """A metric of every 56th step reaches its target between two records: at 83 ± 28 steps."""
    runs = []
    for seed in range(3):
        values = [None] * 112
        values[55], values[111] = 0.9, 0.5
        history = make_history({"val_loss": values, "lr": [0.1] * 112}, seed=seed)
        runs.append(summarise(history, "val_loss", "min", 0.6))

    assert steps_to_target(runs) == Reach(3, 83.0, 28.0)
    assert seconds_to_target(runs) == Reach(3, 83.0, 28.0)


def test_a_target_between_every_second_step(make_history):
    """A metric of every second step reaches its target between two records: at 2 ± 1 steps."""
    values = [None, 0.9, None, 0.5]
    history = make_history({"val_loss": values, "lr": [0.1] * 4}, seed=0)
    runs = [summarise(history, "val_loss", "min", 0.6)]

    assert steps_to_target(runs) == Reach(1, 2.0, 1.0)


def test_the_middle_of_the_median():
    """Where the curve stays at one half, the median is the middle of that time."""
    assert median_time([1.0, 2.0, 4.0, 8.0], []) == 3.0
    assert median_time([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], []) == 6.0


def test_a_run_of_less_than_a_second(make_history):
    """The last step's time counts from the first step, and is not negative."""
    for times, last in (([5.0, 5.25], 0.25), ([5.0, 4.0], 0.0), ([5.0, 5.0], 0.0)):
        history = make_history({"loss": [1.0, 0.5]}, times=times)
        assert summarise(history, "loss", "min", None).last_second == last
