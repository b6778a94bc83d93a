"""Quantiles of very many values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.stats import quantiles
from lrtrack.stats.quantiles import quantile

MANY = 150_000


def drawn(kind: str) -> np.ndarray:
    """Many values: in any order, sorted, mostly equal, or in a pattern that a sample misjudges."""
    values = np.random.default_rng(0).lognormal(size=MANY)
    if kind == "sorted":
        return np.sort(values)
    if kind == "mostly equal":
        return np.where(values > 3.0, values, 1.0)
    if kind == "periodic":
        step = MANY // quantiles._SAMPLE
        return np.where(np.arange(MANY) % step == 0, -1.0, values)
    return values


@pytest.mark.parametrize("kind", ["random", "sorted", "mostly equal", "periodic"])
@pytest.mark.parametrize("share", [0.0, 1e-6, 0.5, 0.95, 0.999_999, 1.0])
def test_quantiles_of_many_values_are_those_of_numpy(kind, share):
    """A quantile that is found in a bracket equals NumPy's to the last bit."""
    values = drawn(kind)

    assert float(np.quantile(values, share)) == quantile(values, share)


def test_a_bracket_holds_a_small_part_of_the_values():
    """Few of many values remain around a quantile, and those below them are counted."""
    values = drawn("random")
    part, before = quantiles._bracketed(values, MANY // 2)

    assert int((values < part.min()).sum()) == before
    assert part.size < MANY // 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(1, 60),
)
def test_quantiles_of_any_values_are_those_of_numpy(numbers, share, many):
    """Few values, and many that are bracketed by a sample of a few, have NumPy's quantiles."""
    values = np.array(numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "_MANY", many)
        patch.setattr(quantiles, "_SAMPLE", 8)
        patch.setattr(quantiles, "_MARGIN", 1)
        found = quantile(values, share)

    assert float(np.quantile(values, share)) == found
