"""Properties that hold for all runs; every warning is an error here."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.intervals import spread_of
from lrtrack.stats.significance import Sample, p_improvement, p_value

ANY = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-1000, 1000)
FIGURES = ("mean", "median", "min", "max", "iqm")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ANY, st.sampled_from([0.0, 1.0, 1.0 + 2**-52, 5e-324])), max_size=8))
def test_any_values_have_a_spread(values):
    """A spread never raises or warns, and interval and means lie within the values."""
    found = spread_of(values)

    if found.ci95 is not None:
        assert min(values) <= found.ci95[0] <= found.ci95[1] <= max(values)
    if found.mean is not None and found.iqm is not None:
        slack = 1e-12 * max(map(abs, values))
        assert min(values) - slack <= found.iqm <= max(values) + slack


@settings(max_examples=40, deadline=None)
@given(st.lists(WHOLE, min_size=3, max_size=9), st.integers(1, 50), WHOLE)
def test_a_spread_moves_with_its_values(values, factor, shift):
    """Scaling and shifting the values scales and shifts all statistics and the interval."""
    one = spread_of([float(value) for value in values])
    other = spread_of([float(factor * value + shift) for value in values])
    ends = [factor * end + shift for end in one.ci95]

    assert other.ci95 == pytest.approx(ends, rel=1e-9, abs=1e-9)
    assert other.std == pytest.approx(factor * one.std, rel=1e-9, abs=1e-9)
    for name in FIGURES:
        before, after = getattr(one, name), getattr(other, name)
        assert (before is None) == (after is None)
        if before is not None:
            assert after == pytest.approx(factor * before + shift, rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    *[st.lists(st.one_of(ANY, st.just(math.inf)), min_size=2, max_size=5) for _ in range(2)],
    st.booleans(),
)
def test_any_two_samples_can_be_tested(one, other, seeded):
    """Two samples have a p-value in (0, 1] without a warning, and improvement is symmetric."""
    samples = [
        Sample(tuple(values), tuple(range(len(values)) if seeded else [None] * len(values)))
        for values in (one, other)
    ]
    found = p_value(*samples, "min")
    better, worse = (p_improvement(*sides, "min") for sides in (samples, samples[::-1]))

    assert 0.0 < found <= 1.0
    assert pytest.approx(1.0) == better + worse


@settings(max_examples=30, deadline=None)
@given(
    *[st.lists(WHOLE, min_size=2, max_size=6) for _ in range(2)], st.integers(1, 50), WHOLE
)  # fmt: skip
def test_tests_do_not_depend_on_the_scale(one, other, factor, shift):
    """Scaling and shifting both samples, or swapping them, does not change the tests."""
    before = [Sample(tuple(map(float, v)), (None,) * len(v)) for v in (one, other)]
    after = [
        Sample(tuple(float(factor * v + shift) for v in values), (None,) * len(values))
        for values in (one, other)
    ]

    assert p_value(*before, "max") == pytest.approx(p_value(*before[::-1], "max"))
    assert p_value(*before, "max") == pytest.approx(p_value(*after, "max"))
    assert p_improvement(*before, "max") == p_improvement(*after, "max")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.lists(st.floats() | st.none(), min_size=1, max_size=5), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["min", "max"]),
    st.none() | ANY,
    st.randoms(use_true_random=False),
)
def test_any_runs_can_be_compared(make_history, schedules, mode, target, random):
    """Any runs give ranks and strict JSON, independent of their order."""
    histories = [
        make_history(
            {"loss": losses, "lr": [0.1] * len(losses)},
            schedule=Schedule("StepLR", {"step_size": at}),
            seed=seed,
            id=f"{at}-{seed}",
        )
        for at, runs in enumerate(schedules)
        for seed, losses in enumerate(runs)
    ]
    if all(value is None for runs in schedules for losses in runs for value in losses):
        histories.append(make_history({"loss": [1.0]}, id="one"))
    options = {"experiment": None, "metric": "loss", "mode": mode, "target": target}
    found = compare_histories(histories, **options).to_dict()
    shuffled = random.sample(histories, len(histories))

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == compare_histories(shuffled, **options).to_dict()
    ranks = [item["rank"] for item in found["schedules"]]
    assert all(rank == at or rank == ranks[at - 2] for at, rank in enumerate(ranks, start=1))


def test_a_hundred_thousand_steps(make_history):
    """The statistics of a run of 100,000 steps equal those computed from its parts."""
    size = 100_000
    norms = np.ones(size)
    norms[70_000] = 99.0
    losses = np.exp(-np.arange(size) / size)
    history = make_history({"loss": losses, "lr": np.full(size, 0.1), "grad_norm": norms})
    found = compare_histories([history], experiment=None, metric="loss", target=0.5).runs[0]

    assert (found.steps, found.spikes, found.target_step) == (size, 1, 69_815)
    assert pytest.approx(-0.5, abs=1e-5) == found.log_area
