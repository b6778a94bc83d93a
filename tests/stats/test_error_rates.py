"""Error rates in simulated worlds whose truth is known; the soak simulates many more of them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from lrtrack.stats.effects import Effects
from lrtrack.stats.intervals import intervals
from lrtrack.stats.samples import LEVEL, Sample
from lrtrack.stats.spread_model import fit

#: Noise of mean 0 and variance 1, by shape.
NOISE: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "lognormal": lambda rng, shape: (
        (rng.lognormal(0.0, 0.5, shape) - math.exp(0.125))
        / math.sqrt(math.exp(0.25) * (math.exp(0.25) - 1.0))
    ),
    "bimodal": lambda rng, shape: (
        0.9 * rng.choice([-1.0, 1.0], shape) + math.sqrt(0.19) * rng.normal(size=shape)
    ),
}
FEW, MANY = 150, 4000
SIZES = [(2, 3), (2, 20), (3, 5), (6, 3), (12, 3), (12, 10)]


class Rates(NamedTuple):
    """Shares of worlds, but of intervals for `single`."""

    false: float
    simultaneous: float
    single: float
    power: float


def _world(rng, means, runs, noise, *, spreads=1.0, missing=0):
    """Samples around 10 whose seeds have an effect; at random some runs are missing."""
    size = (means.size, runs)
    values = 10.0 + means[:, None] + 0.7 * rng.normal(size=runs)
    values = values + np.reshape(spreads, (-1, 1)) * NOISE[noise](rng, size)
    kept = np.ones(size, dtype=bool)
    for at in rng.choice(values.size, missing, replace=False):
        kept.flat[at] = False
    return [
        Sample(tuple(map(float, row[have])), tuple(map(int, np.flatnonzero(have))))
        for row, have in zip(values, kept, strict=True)
        if have.any()
    ]


def _rates(worlds, schedules, runs, noise="normal", *, worse=0.0, baseline=None, **options):
    """How often the report errs; `worse` is how much the last schedule is worse."""
    rng = np.random.default_rng(20_261_129)
    means = np.zeros(schedules)
    means[-1] = worse
    false = simultaneous = single = power = 0
    for _ in range(worlds):
        samples = _world(rng, means, runs, noise, **options)
        model = fit(samples, "min")
        final = [float(sample.ended.mean()) for sample in samples]
        at = int(np.argmin(final)) if baseline is None else baseline
        found = Effects(model, at, chosen=baseline is not None, final=final)
        effects = {i: found.of(i) for i in range(len(samples)) if i != at}
        told = {i for i, effect in effects.items() if effect and effect.p < LEVEL}
        false += any(means[i] == means[at] for i in told)
        power += schedules - 1 in told
        simultaneous += all(
            effect is None or effect.ci95[0] <= means[i] - means[at] <= effect.ci95[1]
            for i, effect in effects.items()
        )
        ends = [item.ends for item in intervals(model, samples)]
        single += sum(
            end is None or end[0] <= 10.0 + mean <= end[1]
            for end, mean in zip(ends, means, strict=False)
        )
    parts = (false, simultaneous, single / schedules, power)
    return Rates(*(part / worlds for part in parts))


def _error(worlds, share=0.05):
    """Three standard errors of a share of simulated worlds."""
    return 3.0 * math.sqrt(share * (1.0 - share) / worlds)


def _worlds(soak):
    return pytest.param(MANY, marks=pytest.mark.soak, id="many") if soak else FEW


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
@pytest.mark.parametrize(("schedules", "runs"), SIZES)
def test_equal_schedules(worlds, schedules, runs):
    """Among equally good schedules, "worse than the best" is said in at most 5 % of worlds, and
    the intervals hold all differences at once, and each mean, in 95 %.
    """
    rates = _rates(worlds, schedules, runs)

    assert rates.false <= 0.05 + _error(worlds)
    assert rates.simultaneous >= 0.95 - _error(worlds)
    assert 0.95 - _error(worlds) <= rates.single <= 0.965 + _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
@pytest.mark.parametrize("noise", ["lognormal", "bimodal"])
@pytest.mark.parametrize("runs", [3, 5, 10])
def test_other_noise(worlds, noise, runs):
    """Skewed and two-peaked noise cost at most 2 percentage points."""
    rates = _rates(worlds, 6, runs, noise)

    assert rates.false <= 0.07 + _error(worlds)
    assert rates.simultaneous >= 0.93 - _error(worlds)
    assert rates.single >= 0.93 - _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
@pytest.mark.parametrize("schedules", [3, 6, 12])
def test_three_seeds_have_power(worlds, schedules):
    """From three seeds, a schedule that is 4.5 residual deviations worse is reported in about 90 %
    of worlds or more, without more errors.
    """
    rates = _rates(worlds, schedules, 3, worse=4.5)

    assert rates.power >= 0.89 - _error(worlds, 0.11)
    assert rates.false <= 0.05 + _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
def test_a_baseline(worlds):
    """Against a baseline, intervals hold at once too, and errors are as rare."""
    rates = _rates(worlds, 6, 3, baseline=0)

    assert rates.false <= 0.05 + _error(worlds)
    assert rates.simultaneous >= 0.95 - _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
def test_missing_runs(worlds):
    """Missing runs neither add errors nor end the pairing by seed."""
    rates = _rates(worlds, 6, 4, missing=4)

    assert rates.false <= 0.05 + _error(worlds)
    assert rates.simultaneous >= 0.95 - _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
def test_unequal_spreads(worlds):
    """With ten seeds, plainly unequal spreads are noticed, and errors stay rare."""
    rates = _rates(worlds, 4, 10, spreads=[5.0, 1.0, 1.0, 0.5])

    assert rates.false <= 0.06 + _error(worlds)
    assert rates.simultaneous >= 0.94 - _error(worlds)


@pytest.mark.parametrize("worlds", [_worlds(False), _worlds(True)])
@pytest.mark.parametrize(
    ("schedules", "runs", "most"), [(3, 3, 0.08), (12, 3, 0.10), (12, 5, 0.07)]
)
def test_one_noisy_schedule(worlds, schedules, runs, most):
    """Few seeds of a schedule that spreads three times as far as the others add few errors."""
    spreads = [3.0] + [1.0] * (schedules - 1)

    assert _rates(worlds, schedules, runs, spreads=spreads).false <= most + _error(worlds)
