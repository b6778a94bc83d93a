"""Differences that stay valid while seeds are added."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.effects import Effects
from lrtrack.stats.samples import Sample
from lrtrack.stats.sequential import PRECISION, sequential_p, sequential_t
from lrtrack.stats.spread_model import fit


@pytest.mark.parametrize(("t", "df", "information"), [(0.5, 2, 1.0), (3.0, 4, 1.5), (9.0, 22, 5.0)])
def test_the_p_value_by_its_integral(t, df, information):
    """The p-value is one over the Bayes factor of a normal prior on the standardized effect."""
    scale = math.sqrt(1.0 / PRECISION)

    def weighted(effect):
        likelihood = stats.nct.pdf(t, df, effect * math.sqrt(information))
        return likelihood * stats.norm.pdf(effect, scale=scale)

    factor = integrate.quad(weighted, -30.0, 30.0, limit=200)[0] / stats.t.pdf(t, df)
    assert sequential_p(t, df, information, 1) == pytest.approx(min(1.0, 1.0 / factor), rel=1e-6)


def test_the_quantile_is_its_inverse():
    """The critical t has the p-value that was asked for; with few runs there is none."""
    assert sequential_p(sequential_t(8, 2.5, 3, 0.05), 8, 2.5, 3) == pytest.approx(0.05)
    assert sequential_t(2, 1.5, 3, 0.05) == math.inf
    assert sequential_p(math.inf, 2, 1.5, 3) > 0.05


@pytest.mark.parametrize(("sequential", "most"), [(True, 0.05), (False, 1.0)])
def test_looking_after_every_seed(sequential, most):
    """Looking after each of 20 seeds errs in under 5 % of equal worlds, but an ordinary test in
    over 15 %.
    """
    errors, worlds = 0, 60
    for world in range(worlds):
        values = np.random.default_rng(world).normal(10.0, 1.0, (3, 20))
        for seeds in range(2, 21):
            samples = [Sample(tuple(row[:seeds]), tuple(range(seeds))) for row in values]
            means = [float(row[:seeds].mean()) for row in values]
            best = int(np.argmin(means))
            effects = Effects(
                fit(samples, "min"), best, chosen=False, final=means, sequential=sequential,
            )  # fmt: skip
            if any((effect := effects.of(at)) and effect.p < 0.05 for at in range(3)):
                errors += 1
                break

    assert errors / worlds <= most
    assert sequential or errors / worlds > 0.15


def _compared(make_history, seeds):
    """Two schedules that are far apart, with a few seeds each."""
    histories = [
        make_history(
            {"loss": [base + 0.1 * math.sin(9 * seed + base)]},
            schedule=Schedule(f"{name}LR"), seed=seed, id=f"{name}{seed}",
        )
        for name, base in (("A", 1.0), ("B", 2.0))
        for seed in range(seeds)
    ]  # fmt: skip
    return compare_histories(histories, experiment=None, metric="loss", sequential=True)


def test_a_clear_difference_shows(make_history):
    """A clear difference shows after few seeds, and the report names the method."""
    found = _compared(make_history, seeds=6)

    assert found.test.name == "sequential"
    assert found.schedules[1].verdict == "worse"


def test_too_few_seeds_to_tell_anything(make_history):
    """With so few seeds that no difference could be told, the report asks for more of them."""
    found = _compared(make_history, seeds=3)

    assert [item.verdict for item in found.schedules] == ["best", "too-few-runs"]
    assert [item.code for item in found.warnings] == ["too-few-runs"]
    assert "3 runs are too few" in found.warnings[0].message


@pytest.mark.parametrize(("schedules", "pairs", "others"), [(2, 1, 1), (3, 3, 2), (5, 10, 4)])
def test_how_many_differences_are_looked_at(schedules, pairs, others):
    """Without a baseline, any pair may differ; with one, each other schedule from that."""
    samples = [Sample((1.0 + at, 1.5 + at, 2.5 + at), (0, 1, 2)) for at in range(schedules)]
    model, final = fit(samples, "min"), [2.0] * schedules
    counts = [
        Effects(model, 0, chosen=chosen, final=final, sequential=True)._comparisons
        for chosen in (False, True)
    ]

    assert counts == [pairs, others]
