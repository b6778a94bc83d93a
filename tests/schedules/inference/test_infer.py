"""`infer_schedule`: from learning rates to the spec that gives them again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules import infer_schedule, spec_of
from lrtrack.schedules.closed_form import rates

#: One spec of each kind, and chains.
SPECS = [
    "constant",
    "step(steps=30)",
    "step(steps=7, gamma=0.5)",
    "multistep(milestones=[30, 60])",
    "exponential(gamma=0.97)",
    "cosine(steps=50, min_lr=0.001)",
    "cosine(steps=2000)",
    "cosine_restarts(steps=20)",
    "cosine_restarts(steps=20, factor=2, min_lr=0.001)",
    "onecycle(max_lr=0.5, steps=400)",
    "onecycle(max_lr=0.5, steps=400, pct_start=0.125, anneal_strategy='linear')",
    "onecycle(max_lr=0.5, steps=400, three_phase=true)",
    "cyclic(min_lr=0.01, max_lr=0.1, steps=17)",
    "cyclic(min_lr=0.01, max_lr=0.1, steps=17, step_size_down=9, mode='triangular2')",
    "cyclic(min_lr=0.01, max_lr=0.1, steps=17, mode='exp_range', gamma=0.99)",
    "linear(start=1, end=0, steps=500)",
    "linear(start=1, end=0.2, steps=150)",
    "polynomial(steps=150, power=2)",
    "inverse_sqrt(timescale=40)",
    "one_minus_sqrt(steps=120, end=0.1)",
    "wsd(steps=400, warmup=20, decay=50)",
    "wsd(steps=400, warmup=20, decay=50, shape='sqrt')",
    "wsd(steps=20, warmup=3, decay=5, interval=20)",
    "flat_cosine(steps=400, flat=288)",
    "warmup(start=0, steps=30)",
    "warmup(steps=30) -> cosine(steps=70, min_lr=0.01) -> constant(factor=0.1)",
    "warmup(start=0, steps=5, interval=10) -> cosine(steps=15, interval=10)",
    "warmup(steps=20) -> step(steps=30)",
    "cosine(steps=58, interval=7)",
    "cosine(steps=700, skip=200)",
    "warmup(start=0, steps=20) -> cosine(steps=400, min_lr=0.001, skip=20)",
    "warmup(start=0, steps=20) -> cosine(steps=400, skip=20, lasts=300) -> constant(factor=0.1)",
    "warmup(steps=5, interval=10) -> cosine(steps=40, skip=5, interval=10)",
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_simulated_spec_is_found_again(spec, error_of):
    """The rates of a spec give the same text, recorded at every step or at every third."""
    lr = lrtrack.simulate(spec, 400, lr=0.1)[:, 0]
    step = np.arange(400)
    thinned = infer_schedule(lr[::3], step[::3])

    assert infer_schedule(lr).spec == spec
    assert error_of(thinned, lr[::3], step[::3]) <= 1e-3
    assert not thinned.spec.startswith("piecewise") or "interval" in spec


CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(
    lambda values: max(values) > 1e-200
)


@settings(max_examples=40)
@given(CURVES, st.integers(1, 7), st.integers(0, 20))
def test_any_curve_is_described(error_of, lr, stride, first):
    """Any learning rates, at any steps, are described within 1 % of their peak."""
    step = first + stride * np.arange(len(lr))
    inferred = infer_schedule(lr, step)

    assert error_of(inferred, np.array(lr), step) <= 0.01
    assert inferred.error <= 0.01


STEPS = st.integers(5, 120)
FIRST = [
    st.builds("warmup(steps={}, start={})".format, STEPS, st.sampled_from([0, 0.1, 0.01])),
    st.builds("constant(factor={1}, lasts={0})".format, STEPS, st.sampled_from([1, 0.5])),
    st.just(""),
]
LAST = [
    st.builds("cosine(steps={}, min_lr={})".format, STEPS, st.sampled_from([0, 1e-5, 1e-3])),
    st.builds("exponential(gamma={})".format, st.sampled_from([0.9, 0.99, 0.995])),
    st.builds("linear(start=1, end={1}, steps={0})".format, STEPS, st.sampled_from([0, 0.1])),
    st.builds("polynomial(steps={}, power={})".format, STEPS, st.sampled_from([0.5, 2, 3])),
    st.builds("inverse_sqrt(timescale={})".format, STEPS),
    st.builds("step(steps={}, gamma={})".format, STEPS, st.sampled_from([0.1, 0.5])),
]


@settings(max_examples=40)
@given(st.one_of(*FIRST), st.one_of(*LAST), st.integers(60, 300))
def test_chains_give_the_same_curve(error_of, first, last, size):
    """Any warm-up followed by any decay, whole or cut, is inferred with the same rates."""
    lr = rates(" -> ".join(filter(None, (first, last))), np.arange(size), 0.1)
    inferred = infer_schedule(lr)

    assert error_of(inferred, lr, np.arange(size)) <= 1e-3
    assert "piecewise" not in inferred.spec


@settings(max_examples=30)
@given(st.one_of(*FIRST), st.integers(150, 200), st.integers(1, 90), st.integers(180, 300))
def test_a_cosine_may_begin_in_its_middle(error_of, first, steps, skip, size):
    """A cosine that has begun before, after any warm-up, is inferred with the same rates."""
    spec = " -> ".join(filter(None, (first, f"cosine(steps={steps}, skip={skip})")))
    lr = rates(spec, np.arange(size), 0.1)
    inferred = infer_schedule(lr)

    assert error_of(inferred, lr, np.arange(size)) <= 1e-3
    assert "piecewise" not in inferred.spec


def test_the_schedule_has_name_label_and_id():
    """A chain's name is its kinds; the label begins with a sign for "about"."""
    lr = lrtrack.simulate("warmup(steps=30, start=0) -> cosine(steps=70)", 100, lr=1e-3)[:, 0]
    schedule = infer_schedule(lr).schedule

    assert schedule.name == "warmup -> cosine"
    assert schedule.source == "inferred"
    assert schedule.label == "≈ warmup(start=0, steps=30) → cosine(steps=70)"
    assert infer_schedule([0.1, 0.1]).schedule.label == "≈ constant"


def test_noise_of_logging_does_not_change_the_id():
    """Curves whose parameters agree in 3 significant digits have the same id; others do not."""
    one, same, other = (
        infer_schedule(lrtrack.simulate(f"exponential(gamma={gamma})", 50, lr=0.1)[:, 0])
        for gamma in (0.98, 0.9801, 0.982)
    )

    assert one.spec != same.spec
    assert one.schedule == same.schedule
    assert one.schedule.id == same.schedule.id
    assert one.schedule.id != other.schedule.id


def test_the_longest_curves():
    """100,000 rates are described, whether a formula fits or none does."""
    steps = np.arange(100_000)
    cosine = infer_schedule(6e-5 + 2.7e-4 * (1 + np.cos(np.pi * steps / 100_000)))
    noise = np.random.default_rng(0).random(100_000)

    assert cosine.spec == "cosine(steps=100000, min_lr=6e-05)"
    assert infer_schedule(noise).error <= 0.01


@pytest.mark.parametrize(
    ("lr", "step", "message"),
    [
        ([0.1, 0.2], [0], "lists of the same length"),
        ([[0.1]], None, "lists of the same length"),
        ([], None, "no finite learning rate"),
        ([math.nan], None, "no finite learning rate"),
        ([-0.1, 0.1], None, "must be at least 0"),
        ([0.1, 0.1], [-1, 0], "must be at least 0"),
    ],
)
def test_mistakes(lr, step, message):
    """Arguments that are no learning rates are refused with the reason."""
    with pytest.raises(UsageError, match=message):
        infer_schedule(lr, step)


def test_the_last_rate_of_a_step_counts():
    """Of several rates of one step the last counts, in any order of steps, without NaN."""
    inferred = infer_schedule([0.3, 0.2, math.nan, 0.1, 0.1], [1, 2, 3, 0, 1])

    assert inferred.spec == "constant(factor=0.5, lasts=2) -> constant"
    assert inferred.base_lr == 0.2


def test_piecewise_can_be_built_and_described():
    """The kind without a formula is built, described and written like any other."""
    spec = "piecewise(steps=[0, 10, 11], factors=[0.5, 1, 0.25])"
    schedule = lrtrack.describe(lrtrack.capture.from_spec.scheduler(_sgd(), spec))

    assert spec_of(schedule) == "piecewise(steps=[0, 10, 11], factors=[0.5, 1.0, 0.25])"
    assert lrtrack.simulate(spec, 13, lr=0.4)[:, 0].tolist() == pytest.approx(
        np.interp(range(13), [0, 10, 11], [0.2, 0.4, 0.1]).tolist()
    )


def _sgd():
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
