"""Steps whose gradient norm stands far above those before."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.stats import spikes, summarise
from lrtrack.stats.spikes import FACTOR, FEWEST, WINDOW


def _slow(norms):
    """A reference implementation that goes step by step."""
    found, before = [], []
    for norm in norms:
        usual = np.median(before[-WINDOW:]) if len(before) >= FEWEST else 0.0
        found.append(bool(usual > 0.0 and norm > FACTOR * usual))
        if not math.isnan(norm):
            before.append(norm)
    return found


def test_a_spike_is_found_where_it_is():
    """After enough norms of 1, a norm of 11 is a spike and one of 10 is not."""
    norms = np.ones(300)
    norms[[5, 150, 200]] = 11.0, 11.0, 10.0

    assert np.flatnonzero(spikes(norms)).tolist() == [150]


def test_a_lasting_rise_stops_being_a_spike():
    """Once half of the trailing norms are large, large norms are no longer spikes."""
    norms = np.array([1.0] * 200 + [100.0] * 200)

    assert np.flatnonzero(spikes(norms)).tolist() == list(range(200, 251))


def test_infinite_norms_are_spikes_and_nan_is_none():
    """An infinite norm is a spike; NaN is neither a spike nor part of the median."""
    norms = np.array([1.0] * 10 + [math.inf, math.nan, 1.0, 10.5])

    assert np.flatnonzero(spikes(norms)).tolist() == [10, 13]


def test_norms_of_zero_make_no_spikes():
    """After norms of zero, no norm is a spike."""
    assert not spikes(np.array([0.0] * 50 + [1.0])).any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([0.0, 1e-310, 0.5, 1.0, 2.0, 11.0, 25.0, 1e300, math.inf, math.nan]),
        max_size=300,
    )
)
def test_the_fast_way_is_the_plain_one(norms):
    """The vectorised search finds the same spikes as a loop over the steps."""
    assert _slow(norms) == spikes(np.array(norms)).tolist()


def test_runs_count_their_spikes(make_history):
    """A run's summary has the number of its spikes."""
    history = make_history({"grad_norm": [1.0] * 20 + [50.0, 1.0, None, 60.0]})

    assert summarise(history, "loss", "min", None).spikes == 2
