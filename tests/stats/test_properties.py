"""Properties that hold for all runs; every warning is an error here."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.effects import Effects
from lrtrack.stats.intervals import spread_of
from lrtrack.stats.samples import Sample, improvement
from lrtrack.stats.spread_model import fit

ANY = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-1000, 1000)
FIGURES = ("mean", "median", "min", "max", "iqm")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ANY, st.sampled_from([0.0, 1.0, 1.0 + 2**-52, 5e-324])), max_size=8))
def test_any_values_have_a_spread(values):
    """A spread never raises or warns, and means lie within the values and the interval."""
    found = spread_of(values)

    if found.ci95 is not None and found.mean is not None:
        slack = 1e-9 * max(map(abs, values))
        assert found.ci95[0] - slack <= found.mean <= found.ci95[1] + slack
    if found.mean is not None and found.iqm is not None:
        slack = 1e-12 * max(map(abs, values))
        assert min(values) - slack <= found.iqm <= max(values) + slack


@settings(max_examples=40, deadline=None)
@given(st.lists(WHOLE, min_size=3, max_size=9), st.integers(1, 50), WHOLE)
def test_a_spread_moves_with_its_values(values, factor, shift):
    """Scaling and shifting the values scales and shifts all statistics and the interval."""
    one = spread_of([float(value) for value in values])
    other = spread_of([float(factor * value + shift) for value in values])

    assert (one.ci95 is None) == (other.ci95 is None)
    if one.ci95 is not None:
        ends = [factor * end + shift for end in one.ci95]
        assert other.ci95 == pytest.approx(ends, rel=1e-9, abs=1e-9)
    assert other.std == pytest.approx(factor * one.std, rel=1e-9, abs=1e-9)
    for name in FIGURES:
        before, after = getattr(one, name), getattr(other, name)
        assert (before is None) == (after is None)
        if before is not None:
            assert after == pytest.approx(factor * before + shift, rel=1e-9, abs=1e-9)


SIDES = st.lists(
    st.lists(st.one_of(ANY, st.just(math.inf)), max_size=5), min_size=2, max_size=5
).filter(lambda sides: any(map(len, sides)))


def _samples(sides, seeded):
    return [
        Sample(tuple(map(float, v)), tuple(range(len(v)) if seeded else [None] * len(v)))
        for v in sides
    ]


def _effects(sides, seeded, mode="min"):
    samples = _samples(sides, seeded)
    model = fit(samples, mode)
    means = [spread_of(sample.ended.tolist()).mean for sample in samples]
    effects = Effects(model, 0, chosen=False, final=means)
    return [(effects.of(at), effects.seeds_to_tell(at)) for at in range(len(sides))]


@settings(max_examples=60, deadline=None)
@given(SIDES, st.booleans())
def test_any_samples_can_be_compared(sides, seeded):
    """Any samples have an effect with a p-value in [0, 1], or none, without a warning."""
    for effect, seeds in _effects(sides, seeded)[1:]:
        if effect is not None:
            slack = 1e-9 * (abs(effect.ci95[0]) + abs(effect.ci95[1]))
            assert effect.ci95[0] - slack <= effect.difference <= effect.ci95[1] + slack
            assert 0.0 <= effect.p <= 1.0
            assert effect.p >= 0.05 or seeds is None


@given(*[st.lists(ANY, min_size=1, max_size=5) for _ in range(2)])
def test_improvement_is_symmetric(one, other):
    """The probabilities that either side is better add up to 1, as do the ends of intervals."""
    samples = _samples([one, other], False)
    better, worse = (improvement(*sides, "min") for sides in (samples, samples[::-1]))

    assert better.p + worse.p == pytest.approx(1.0)
    assert better.ci95[0] + worse.ci95[1] == pytest.approx(1.0)
    assert better.ci95[0] <= better.p <= better.ci95[1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(WHOLE, min_size=2, max_size=5), min_size=2, max_size=4),
    st.integers(1, 50),
    WHOLE,
    st.booleans(),
)
def test_effects_do_not_depend_on_the_unit(sides, factor, shift, seeded):
    """Scaling and shifting all values scales the differences, and changes no p-value."""
    negative = [[value - 2000 for value in side] for side in sides]  # no logarithms
    moved = [[factor * (value - 2000) + shift - 10**6 for value in side] for side in sides]
    pairs = zip(_effects(negative, seeded), _effects(moved, seeded), strict=True)

    for (one, seeds), (other, other_seeds) in pairs:
        assert (one is None, seeds) == (other is None, other_seeds)
        if one is not None:
            assert other.difference == pytest.approx(factor * one.difference, rel=1e-6, abs=1e-6)
            assert other.p == pytest.approx(one.p, rel=1e-3, abs=1e-6)


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
