"""Statistics checked against other libraries and textbooks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lrtrack.stats.effects import Effects
from lrtrack.stats.intervals import interquartile_mean, median_time
from lrtrack.stats.samples import Sample, improvement
from lrtrack.stats.scale import scale_of
from lrtrack.stats.spread_model import fit

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
    larger = [improvement(_sample(x), _sample(y), "max").p for x, y in columns]
    smaller = [improvement(_sample(x), _sample(y), "min").p for x, y in columns]

    expected = metrics.probability_of_improvement(one, other)
    assert pytest.approx(expected, rel=1e-12) == np.mean(larger)
    assert pytest.approx(1.0 - expected, rel=1e-12) == np.mean(smaller)


def test_kaplan_and_meier_by_hand():
    """For times 1, 3+, 4, 5, 6+, 8, 9 the curve is 6/7, 24/35, 18/35, 9/35, 0; the median is 8."""
    assert median_time([1.0, 4.0, 5.0, 8.0, 9.0], [3.0, 6.0]) == 8.0


def test_kaplan_and_meier_where_few_reach():
    """Of Freireich's (1963) 21 patients under 6-MP 9 relapsed: fewer than half, so no median."""
    relapsed = [6.0, 6.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0]
    censored = [6.0, 9.0, 10.0, 11.0, 17.0, 19.0, 20.0, 25.0, 32.0, 32.0, 34.0, 35.0]

    assert median_time(relapsed, censored) is None


#: Three schedules by five seeds, with seed effects.
TABLE = np.array(
    [
        [0.112, 0.131, 0.125, 0.118, 0.140],
        [0.121, 0.137, 0.139, 0.122, 0.146],
        [0.164, 0.188, 0.171, 0.176, 0.190],
    ]
)
#: The same without seeds, with unequal numbers of runs.
UNEVEN = [TABLE[0], TABLE[1, :3], TABLE[2, 1:]]


def _fitted(groups, seeds=None, unequal=0.0):
    """The model with one spread for all; `unequal=1`: with a spread of each schedule."""
    seeds = [None] * len(groups) if seeds is None else seeds
    samples = [_sample(v, s) for v, s in zip(groups, seeds, strict=True)]
    return fit(samples, "min", unequal=unequal)


def _effects(groups, seeds=None, *, baseline=None, unequal=0.0):
    means = [float(np.mean(values)) for values in groups]
    model = _fitted(groups, seeds, unequal)
    effects = Effects(model, baseline or 0, chosen=baseline is not None, final=means)
    return [effects.of(at) for at in range(len(groups))]


@pytest.mark.parametrize("groups", [list(TABLE), UNEVEN])
def test_tukey_is_scipys(groups):
    """Without seeds, differences, intervals and p-values are those of Tukey and Kramer in scipy."""
    expected = stats.tukey_hsd(*groups)
    ends = expected.confidence_interval()

    for at, effect in enumerate(_effects(groups)[1:], start=1):
        assert effect.difference == pytest.approx(expected.statistic[at, 0])
        assert effect.p == pytest.approx(expected.pvalue[at, 0], abs=1e-8)
        assert effect.ci95 == pytest.approx((ends.low[at, 0], ends.high[at, 0]), rel=1e-2)


def test_games_and_howell_are_scipys():
    """If each schedule has a spread of its own, p-values are those of Games and Howell in scipy."""
    groups = [TABLE[0], 10.0 * TABLE[1] - 2.0, TABLE[2]]
    expected = stats.tukey_hsd(*groups, equal_var=False)

    for at, effect in enumerate(_effects(groups, unequal=1.0)[1:], start=1):
        assert effect.p == pytest.approx(expected.pvalue[at, 0], abs=1e-4)


def test_dunnett_is_scipys():
    """Against a baseline without seeds, p-values are those of Dunnett's test in scipy."""
    groups = [TABLE[0], TABLE[1] - 0.005, TABLE[2] - 0.04]
    expected = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    p_values = [effect.p for effect in _effects(groups, baseline=0)[1:]]

    assert p_values == pytest.approx(expected.pvalue, abs=1e-3)


@pytest.mark.parametrize("missing", [(), ((0, 1),), ((0, 1), (2, 4))])
def test_the_model_is_statsmodels(missing):
    """With seeds, differences, spread and p-values are those of statsmodels' least squares by
    schedule and seed, also where runs are missing.
    """
    api = pytest.importorskip("statsmodels.formula.api")
    cells = [at for at in np.ndindex(*TABLE.shape) if at not in missing]
    columns = {
        "value": [TABLE[at] for at in cells],
        "schedule": [str(schedule) for schedule, _ in cells],
        "seed": [seed for _, seed in cells],
    }
    columns = pd.DataFrame(columns)
    expected = api.ols("value ~ C(schedule) + C(seed)", data=columns).fit()
    seeds = [[seed for at, seed in cells if at == schedule] for schedule in range(3)]
    groups = [TABLE[schedule, seeds[schedule]] for schedule in range(3)]
    model = _fitted(groups, seeds)

    assert model.df == expected.df_resid
    assert model.sigma * model.unit == pytest.approx(expected.mse_resid**0.5)
    for at, effect in enumerate(_effects(groups, seeds)[1:], start=1):
        name = f"C(schedule)[T.{at}]"
        q = abs(expected.tvalues[name]) * 2**0.5
        tukey = stats.studentized_range.sf(q, 3, expected.df_resid)
        assert effect.difference == pytest.approx(expected.params[name])
        assert effect.p == pytest.approx(tukey, abs=1e-8)


def test_tukey_is_statsmodels():
    """Without seeds, p-values are those of statsmodels' Tukey test."""
    multicomp = pytest.importorskip("statsmodels.stats.multicomp")
    labels = np.repeat(["0", "1", "2"], [len(group) for group in UNEVEN])
    expected = multicomp.pairwise_tukeyhsd(np.concatenate(UNEVEN), labels)

    assert [effect.p for effect in _effects(UNEVEN)[1:]] == pytest.approx(
        list(expected.pvalues[:2]), abs=1e-6
    )


def test_box_and_cox_are_scipys():
    """The logarithmic scale is chosen where scipy's likelihood of it is clearly higher."""
    rng = np.random.default_rng(3)
    values = rng.lognormal(0.0, 1.0, 40)

    assert stats.boxcox_llf(0.0, values) - stats.boxcox_llf(1.0, values) > 2.0
    assert scale_of([values], "min") == "log"
    assert scale_of([values], "max") == "linear"
    assert scale_of([1.0 - values / 100.0], "max") == "log-distance"
    assert scale_of([100.0 - values], "max") == "log-percent"
    assert scale_of([rng.normal(30.0, 1.0, 40)], "max") == "linear"
    assert scale_of([rng.normal(9.0, 1.0, 40)], "min") == "linear"


def test_newcombe_by_his_equation():
    """The ends of the interval of 3 against 4 runs, 11 of 12 pairs won, solve his equation."""
    found = improvement(_sample([1.0, 2.0, 3.5]), _sample([3.0, 4.0, 6.0, 7.0]), "min")
    z = stats.norm.ppf(0.975)

    assert found.p == 11 / 12
    for end in found.ci95:
        factor = 1 + 2.5 * ((1 - end) / (2 - end) + end / (1 + end))
        assert (found.p - end) ** 2 == pytest.approx(z**2 * end * (1 - end) * factor / 12)


def test_two_paired_schedules_need_as_many_seeds_as_the_t_test():
    """The number of seeds is the smallest at which the paired t test has 80 % power."""
    one, other = np.array([1.0, 1.2, 1.1, 1.05]), np.array([1.1, 1.15, 1.3, 1.1])
    means = [one.mean(), other.mean()]
    effects = Effects(_fitted([one, other], [range(4)] * 2), 0, chosen=False, final=means)
    difference = other - one
    size = difference.mean() / difference.std(ddof=1)

    def power(n):
        return stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, size * n**0.5)

    seeds = effects.seeds_to_tell(1)
    assert power(seeds) >= 0.8 > power(seeds - 1)
