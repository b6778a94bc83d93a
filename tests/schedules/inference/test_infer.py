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

N = 1000
PEAK = 6e-4


def error_of(inferred: lrtrack.InferredSchedule, lr, step) -> float:
    """Return the largest distance of the simulated spec from a curve, as a share of its peak."""
    simulated = lrtrack.simulate(inferred.spec, int(step[-1]) + 1, lr=inferred.base_lr)[:, 0]
    return float(np.abs(simulated[step] - lr).max() / np.max(lr))


def half_cosine(share: float) -> float:
    """Return the factor of a half cosine wave, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


#: The formulas that training scripts write by hand, with the schedule that they are.
BY_HAND = {
    "nanoGPT": (
        lambda i: (
            PEAK * (i + 1) / 101
            if i < 100
            else 6e-5
            if i > 900
            else 6e-5 + (PEAK - 6e-5) * half_cosine((i - 100) / 800)
        ),
        "warmup(start=0.0099, steps=100) -> cosine(steps=800, min_lr=6e-05) -> "
        "constant(factor=0.1)",
    ),
    "from zero": (
        lambda i: PEAK * i / 100 if i < 100 else PEAK * half_cosine((i - 100) / 900),
        "warmup(start=0, steps=100) -> cosine(steps=900)",
    ),
    "trapezoid": (
        lambda i: PEAK * min(1.0, (i + 1) / 50, (N - i) / 300),
        "wsd(steps=1000, warmup=49, decay=300, start=0.02)",
    ),
    "constant, then linear to a tenth": (
        lambda i: PEAK * (1.0 if i < 600 else 0.1 + 0.9 * (N - i) / 400),
        "wsd(steps=1000, warmup=0, decay=400, end=0.1)",
    ),
    "square root cooldown": (
        lambda i: PEAK * min(1, i / 100) * (1 if i < 800 else 1 - math.sqrt((i - 800) / 200)),
        "wsd(steps=1000, warmup=100, decay=200, start=0, shape='sqrt')",
    ),
    "annealed per update": (
        lambda i: 2.5e-4 * (1 - (i // 10) / 100),
        "linear(start=1, end=0, steps=100, interval=10)",
    ),
    "Noam": (
        lambda i: 512**-0.5 * min((i + 1) ** -0.5, (i + 1) * 400**-1.5),
        "warmup(start=0.0025, steps=399) -> inverse_sqrt(timescale=400)",
    ),
    "warm-up and drops by epochs": (
        lambda i: 0.1 * min(1, (i // 50 + 1) / 5) * 0.1 ** ((i >= 500) + (i >= 750)),
        "warmup(start=0.2, steps=4, interval=50) -> multistep(milestones=[6, 11], interval=50)",
    ),
    "warm-up by steps, cosine by epochs": (
        lambda i: 0.1 * i / 50 if i < 50 else 0.1 * half_cosine((i // 50 - 1) / 19),
        "warmup(start=0, steps=50) -> cosine(steps=19, interval=50)",
    ),
    "drops at validation": (
        lambda i: 20 * 0.25 ** sum(i >= at for at in (137, 303, 311, 720)),
        "multistep(milestones=[137, 303, 311, 720], gamma=0.25)",
    ),
    "warm-up, and a cosine that counts its steps": (
        lambda i: PEAK * i / 100 if i < 100 else PEAK * half_cosine(i / N),
        "warmup(start=0, steps=100) -> cosine(steps=1000, skip=100)",
    ),
    "the same by epochs, then constant": (
        lambda i: 0.02 * (i // 20 + 1) if i < 100 else 0.1 * half_cosine(min(i // 20 / 40, 1)),
        (
            "warmup(start=0.2, steps=4, lasts=100, interval=20) -> "
            "cosine(steps=40, skip=5, interval=20) -> constant(factor=0)"
        ),
    ),
    "warm-up whose last step is at the peak": (
        lambda i: PEAK * (i + 1) / 100 if i < 100 else PEAK * half_cosine((i - 100) / 900),
        "warmup(start=0.01, steps=99, lasts=100) -> cosine(steps=900)",
    ),
    "cosine of a continued training": (
        lambda i: PEAK * half_cosine((i + 500) / 2000),
        "cosine(steps=2000, skip=500)",
    ),
    "range test": (lambda i: 1e-7 * 10 ** (8 * i / N), "exponential(gamma=1.01859139)"),
    "fell back at a resume": (
        lambda i: 0.1 * 0.999 ** (i % 500),
        "exponential(gamma=0.999, lasts=500) -> exponential(gamma=0.999)",
    ),
    "restarts": (lambda i: 0.1 * half_cosine(i % 77 / 77), "cosine_restarts(steps=77)"),
    "constant": (lambda i: 0.1, "constant"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_formulas_of_training_scripts(name):
    """A curve that a script computes by hand gets the text of the schedule that it is."""
    function, expected = BY_HAND[name]
    lr = np.array([function(i) for i in range(N)])
    inferred = infer_schedule(lr)

    assert inferred.spec == expected
    assert error_of(inferred, lr, np.arange(N)) <= 1e-3
    assert inferred.error <= 1e-3


#: Formulas of which no schedule is the exact form, with the one that is within 1 % of the peak.
NEARLY = {
    "counted in tokens": (
        lambda i: (
            PEAK * min((i + 1) * 16 / 1605, max(0.1, half_cosine(((i + 1) * 16 - 1605) / 14000)))
        ),
        "linear(start=0.00997, end=0.997, steps=99, lasts=100) -> cosine(steps=873, lasts=693) -> "
        "constant(factor=0.1)",
    ),
    "warm-up multiplied with a cosine": (
        lambda i: 1e-2 * min(1, (i + 1) / 50) * half_cosine(i / N),
        "linear(start=0.0211, end=0.995, steps=49) -> cosine(steps=1000, skip=49)",
    ),
    "long warm-up multiplied with a line": (
        lambda i: 1e-2 * min(1, (i + 1) / 200) * (1 - i / N),
        "piecewise(steps=[0, 50, 100, 150, 199, 999], factors=[0.00624, 0.302, 0.567, 0.801, 1, 0.00125])",
    ),
}


@pytest.mark.parametrize("name", NEARLY)
def test_formulas_that_are_nearly_a_schedule(name):
    """A formula that no schedule computes exactly gets the shortest text within 1 %."""
    function, expected = NEARLY[name]
    lr = np.array([function(i) for i in range(N)])
    inferred = infer_schedule(lr)

    assert inferred.spec == expected
    assert error_of(inferred, lr, np.arange(N)) <= 1e-2
    assert 1e-3 < inferred.error <= 1e-2


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
def test_a_simulated_spec_is_found_again(spec):
    """The rates of a spec give the same text, recorded at every step or at every third."""
    lr = lrtrack.simulate(spec, 400, lr=0.1)[:, 0]
    step = np.arange(400)
    thinned = infer_schedule(lr[::3], step[::3])

    assert infer_schedule(lr).spec == spec
    assert error_of(thinned, lr[::3], step[::3]) <= 1e-3
    assert not thinned.spec.startswith("piecewise") or "interval" in spec


@pytest.mark.parametrize("digits", [None, 4])
@pytest.mark.parametrize("name", ["nanoGPT", "from zero", "trapezoid", "annealed per update"])
def test_rounded_rates_give_the_same_kinds(name, digits):
    """32-bit rates, and rates that were logged with 4 digits, keep the kinds of the schedule."""
    function, expected = BY_HAND[name]
    exact = np.array([function(i) for i in range(N)])
    short = (
        exact.astype(np.float32) if digits is None else [float(f"{x:.{digits}g}") for x in exact]
    )
    kinds = [part.partition("(")[0] for part in expected.split(" -> ")]
    inferred = infer_schedule(short)

    assert [part.partition("(")[0] for part in inferred.spec.split(" -> ")] == kinds
    assert error_of(inferred, exact, np.arange(N)) <= 1e-3


CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(
    lambda values: max(values) > 1e-200
)


@settings(max_examples=60)
@given(CURVES, st.integers(1, 7), st.integers(0, 20))
def test_any_curve_is_described(lr, stride, first):
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
    st.builds("cosine(steps={0}, skip={1})".format, st.integers(150, 200), st.integers(1, 90)),
    st.builds("polynomial(steps={}, power={})".format, STEPS, st.sampled_from([0.5, 2, 3])),
    st.builds("inverse_sqrt(timescale={})".format, STEPS),
    st.builds("step(steps={}, gamma={})".format, STEPS, st.sampled_from([0.1, 0.5])),
]


@settings(max_examples=60)
@given(st.one_of(*FIRST), st.one_of(*LAST), st.integers(60, 300))
def test_chains_give_the_same_curve(first, last, size):
    """Any warm-up followed by any decay, whole or cut, is inferred with the same rates."""
    lr = rates(" -> ".join(filter(None, (first, last))), np.arange(size), 0.1)
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
