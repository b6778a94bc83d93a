"""Curves with fewer points."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.reports.downsampling import extremes, highest, lowest, means, stretches

NAN = float("nan")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 40))
def test_fewer_points_keep_every_extreme(values, most):
    """Downsampling keeps ends, minimum and maximum in order, with hardly more points than
    allowed.
    """
    found = np.array(values)
    kept = extremes(found, most)

    assert kept.size <= most + 2
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, found.size - 1)
    assert (found[kept].min(), found[kept].max()) == (found.min(), found.max())


def test_spikes_survive():
    """Each of many single-step spikes keeps its step and its value."""
    values = np.sin(np.arange(10_000) / 700)
    spikes = np.arange(137, 10_000, 401)
    values[spikes] = np.where(np.arange(spikes.size) % 2, 50.0, -50.0) + np.arange(spikes.size)

    kept = extremes(values, 200)
    assert set(spikes.tolist()) <= set(kept.tolist())
    assert kept.size <= 202


def test_gaps_stay_gaps():
    """No line is drawn across values that are not finite."""
    values = np.ones(1000)
    values[500:520] = NAN

    kept = extremes(values, 100)
    assert np.isnan(values[kept]).any()
    assert np.isfinite(values[kept]).sum() >= 50
    assert extremes(np.full(300, NAN), 100).size <= 102


def test_stretches():
    """Means, minima and maxima of each stretch are over its finite values."""
    values = np.array([1.0, 3.0, NAN, 5.0, NAN, NAN])
    starts = stretches(6, 3)

    assert starts.tolist() == [0, 2, 4]
    assert np.array_equal(means(values, starts), [2.0, 5.0, NAN], equal_nan=True)
    assert np.array_equal(lowest(values, starts), [1.0, 5.0, NAN], equal_nan=True)
    assert np.array_equal(highest(values, starts), [3.0, 5.0, NAN], equal_nan=True)
    assert stretches(2, 5).tolist() == [0, 1]
