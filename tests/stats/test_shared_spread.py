"""Common and own spreads, and which schedules are paired by seed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.stats.effects import Effects
from lrtrack.stats.run_table import TwoWay, table_of
from lrtrack.stats.samples import Sample
from lrtrack.stats.shared_spread import shared
from lrtrack.stats.spread_model import fit

#: Three schedules by five seeds that have an effect.
VALUES = np.array(
    [
        [10.1, 13.2, 8.9, 11.3, 9.6],
        [10.6, 13.4, 9.6, 11.5, 10.3],
        [11.0, 14.4, 9.8, 12.5, 10.4],
    ]
)


def _samples(values, seeds):
    return [
        Sample(tuple(map(float, row)), tuple(own)) for row, own in zip(values, seeds, strict=True)
    ]


def _shared(squares, df, unequal=0.3):
    sizes = np.array(squares, dtype=float), np.array(df, dtype=float)
    return shared(lambda _: sizes, np.full(len(df), 1e-9), unequal)


def test_one_spread_for_all():
    """Without a chance of unequal spreads, all have the pooled variance and its freedom."""
    found = _shared([2.0, 6.0, 4.0], [2, 2, 4], unequal=0.0)
    sums, df = found.summed(np.array([[0.5, 0.5, 0.0]]))

    assert found.variances == pytest.approx([1.5] * 3)
    assert (sums[0], df[0]) == pytest.approx((1.5, 8.0))


def test_each_its_own_spread():
    """If spreads differ for certain, sums have the degrees of freedom of Welch."""
    found = _shared([2.0, 6.0, 4.0], [2, 2, 4], unequal=1.0)
    sums, df = found.summed(np.array([[0.5, 0.5, 0.0]]))

    assert found.variances == pytest.approx([1.0, 3.0, 1.0])
    assert (sums[0], df[0]) == pytest.approx((2.0, 4.0 / (0.5**2 / 2 + 1.5**2 / 2)))


def test_the_weight_of_an_own_spread_by_hand():
    """The weight is Bayes' probability of a larger variance, from the densities of Fisher's F."""
    stats = pytest.importorskip("scipy.stats")
    found = _shared([12.0, 2.0, 2.0], [2, 2, 2])
    # The other two are less than the common variance, so that they hardly weigh on their own.
    other = 2.0 * (1.0 - found.own[1] ** 3) + 2.0 * (1.0 - found.own[2] ** 3)
    true = np.linspace(0.0, 14.0, 41)
    prior = np.exp(-true / 2.9)
    larger = stats.f.pdf(6.0 / np.exp(true), 2, other) / np.exp(true) @ prior / prior.sum()
    odds = 0.3 / 0.7 * larger / stats.f.pdf(6.0, 2, other)

    assert found.own[0] == pytest.approx(odds / (1.0 + odds), rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.integers(0, 20)), min_size=2, max_size=12),
    st.floats(1e-3, 1e3),
)
def test_spreads_scale_with_values(schedules, factor):
    """Weights do not depend on the unit, and a variance lies between its own and the largest."""
    df = [float(item) for _, item in schedules]
    squares = [variance * own for (variance, _), own in zip(schedules, df, strict=True)]
    one = _shared(squares, df)
    other = _shared([factor * item for item in squares], df)

    assert other.own == pytest.approx(one.own, abs=1e-5)
    assert other.variances == pytest.approx(factor * one.variances, rel=1e-4, abs=1e-7)
    assert ((one.own >= 0.0) & (one.own <= 1.0)).all()


def test_a_wild_schedule_hides_nothing():
    """A schedule that is 100 times worse, with 100 times the spread, is reported as worse, and the
    difference between two good ones beside it as well.
    """
    noise = np.random.default_rng(5).normal(size=(5, 5))
    values = -1e6 + np.array([[0.0], [0.1], [0.2], [9.0], [2000.0]]) + noise
    values[4] += 99.0 * noise[4]
    means = [float(row.mean()) for row in values]
    model = fit(_samples(values, [range(5)] * 5), "min")
    effects = Effects(model, int(np.argmin(means)), chosen=False, final=means)

    assert (model.scale, model.own_spread > 0.99) == ("linear", True)
    assert [effects.of(at).p < 0.05 for at in (3, 4)] == [True, True]


def test_a_schedule_without_shared_seeds():
    """It is compared by the spread over runs, while the others stay paired."""
    seeds = [range(5), range(5), range(10, 15)]
    model = fit(_samples(VALUES, seeds), "min", unequal=0.0)
    found = model.differences(0)
    paired = (VALUES[1] - VALUES[0]).std(ddof=1) / math.sqrt(5)
    total = math.sqrt(VALUES.var(axis=1, ddof=1).mean() * 2 / 5)

    assert model.part.tolist() == [0, 0, -1]
    assert found.errors[1:] * model.unit == pytest.approx([paired, total])
    assert found.df[1] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seeds", "part"),
    [
        ([range(5), range(5), range(4, 9)], [0, 0, -1]),  # one of five is too few
        ([range(5), range(5), range(2, 7)], [0, 0, 0]),
        ([range(3), range(3), range(5, 8), range(5, 8)], [0, 0, 2, 2]),
        ([range(4), range(5), range(1, 5)], [0, 0, 0]),
    ],
)
def test_who_is_paired(seeds, part):
    """Schedules are paired where they have most of their seeds in common."""
    values = [VALUES[at % 3, : len(own)] + 0.1 * at for at, own in enumerate(seeds)]

    assert fit(_samples(values, seeds), "min").part.tolist() == part


@given(st.integers(0, 14))
def test_one_missing_run_keeps_the_pairing(at):
    """Whichever run is missing, the others stay paired by the same seeds."""
    kept = [[seed for seed in range(5) if 5 * row + seed != at] for row in range(3)]
    values = [row[own] for row, own in zip(VALUES, kept, strict=True)]
    model = fit(_samples(values, kept), "min")

    assert (model.seeds, model.df, model.part.tolist()) == (5, 7.0, [0, 0, 0])


def test_weighted_fits_are_statsmodels():
    """Estimates, their variances and degrees of freedom are those of weighted least squares in
    statsmodels, also where runs are missing.
    """
    api = pytest.importorskip("statsmodels.formula.api")
    pandas = pytest.importorskip("pandas")
    seeds = [range(5), [0, 1, 3, 4], range(4)]
    values = [VALUES[at, list(own)] for at, own in enumerate(seeds)]
    weights = np.array([1.0, 0.2, 0.5])
    rows = [
        (at, seed, VALUES[at, seed], weights[at]) for at, own in enumerate(seeds) for seed in own
    ]
    columns = pandas.DataFrame(rows, columns=["schedule", "seed", "value", "weight"])
    expected = api.wls("value ~ C(schedule) + C(seed)", columns, weights=columns.weight).fit()
    runs, unit = table_of(_samples(values, seeds), "linear")
    found = TwoWay(runs)
    squares, df = found.residuals(weights)
    estimates = found.estimates(weights) * unit
    variances = found.factors(weights, 0) @ (1.0 / weights)

    assert df.sum() == pytest.approx(expected.df_resid)
    assert squares @ weights * unit**2 == pytest.approx(expected.ssr)
    for at in (1, 2):
        name = f"C(schedule)[T.{at}]"
        assert estimates[at] - estimates[0] == pytest.approx(expected.params[name])
        assert variances[at] == pytest.approx(expected.normalized_cov_params.loc[name, name])


def test_runs_without_a_partner():
    """A run whose seed no other schedule has, or which has none, belongs to no block."""
    samples = _samples([[2.0, 1.0], [4.0, 3.0]], [[0, None], [0, 1]])
    runs, unit = table_of(samples, "linear")

    assert (runs.block.tolist(), runs.group.tolist()) == ([-1, 0, -1, 0], [0, 0, 1, 1])
    assert (runs.values * unit).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert unit == 8.0
    alone = fit(_samples([[2.0, 1.0], [4.0, 3.5]], [[0, 1], [2, 3]]), "min")
    assert (alone.paired, alone.part.tolist()) == (None, [-1, -1])


def test_the_spread_of_a_pair():
    """A pair's variance is the mean of both, of residuals where the runs are paired by seed."""
    for seeds in ([None] * 5, list(range(5))):
        model = fit(_samples(VALUES * [[1.0], [2.0], [4.0]], [seeds] * 3), "min", unequal=1.0)
        spread = (model.total if model.residual is None else model.residual).variances

        assert (model.residual is None) == (seeds[0] is None)
        assert len(set(spread)) == 3
        assert model.differences(1).pair == pytest.approx((spread + spread[1]) / 2.0)
