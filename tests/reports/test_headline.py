"""The sentence with the result of a comparison."""

import math

import pytest

from lrtrack.records import State
from lrtrack.reports.report import report_of
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CYCLE = Schedule("OneCycleLR", {"max_lr": 0.1})
WIDE = Schedule("OneCycleLR", {"max_lr": 0.3})
COSINE, STEP, EXP = (Schedule(f"{name}LR") for name in ("CosineAnnealing", "Step", "Exponential"))
#: Eight seeds around 0, and as many that lie as high on the whole but not seed by seed.
EIGHT = [(seed - 3.5) / 1000 for seed in range(8)]
ASIDE = [(3.5 - seed + (seed == 0) / 10) / 1000 for seed in range(8)]


@pytest.fixture
def said(add, histories):
    """Compares schedules, given one value per run by seed, and returns the headline."""

    def say(values, *, states=None, **options):
        for schedule, losses in values.items():
            for seed, loss in enumerate(losses):
                state = (states or {}).get((schedule, seed), State.FINISHED)
                add(schedule, [loss], seed=seed, state=state)
        options = {"experiment": None, "metric": "loss", **options}
        return report_of(compare_histories(histories(), **options)).headline

    return say


def _around(center, offsets=EIGHT):
    return [center + offset for offset in offsets]


def test_the_issues_sentence(said):
    """The headline has the best with its interval and seeds, the indistinguishable and the
    worse.
    """
    found = said({CYCLE: _around(0.082), WIDE: _around(0.0821, ASIDE), STEP: _around(0.0918)})

    assert found == (
        "OneCycleLR(max_lr=0.1) has the lowest final loss: 0.08200 [0.08041, 0.08363], 8 seeds; "
        "OneCycleLR(max_lr=0.3) is not distinguishable from it; StepLR is 12 % worse (p = 0.016)."
    )


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5], "StepLR ends at loss 0.5000, 1 seed."),
        ([0.4, 0.6], "StepLR ends at loss 0.5000 ± 0.1414, 2 seeds."),
        ([0.5, 0.5, 0.5], "StepLR ends at loss 0.5000 [0.5000, 0.5000], 3 seeds."),
        ([0.4, 0.6, math.nan],
         "StepLR ends at loss 0.5000 ± 0.1414, 2 seeds (1 more diverged)."),
        ([math.nan], "No schedule has a usable final loss: its only run diverged."),
        ([math.nan] * 3, "No schedule has a usable final loss: all 3 runs diverged."),
    ],
)  # fmt: skip
def test_one_schedule(said, losses, expected):
    """A single schedule is reported without a comparison."""
    assert expected == said({STEP: losses})


def test_too_few_runs(said):
    """If no difference could be significant, the headline says so with the number of runs."""
    assert said({STEP: [0.1, 0.2], COSINE: [0.3, 0.4]}).endswith(
        "2 seeds; 2 runs are too few to separate CosineAnnealingLR from it."
    )


def test_many_schedules_keep_it_short(said):
    """More than three schedules with the same verdict are counted."""
    nine = [*EIGHT, 0.0]
    worse = {Schedule("StepLR", {"n": at}): _around(1.0 + at, nine) for at in range(5)}
    near = {Schedule("CyclicLR", {"n": at}): _around(0.5, [*ASIDE, 0.0]) for at in range(4)}
    few = {Schedule("LinearLR", {"n": at}): [9.0] for at in range(4)}

    assert said({CYCLE: _around(0.49999, nine), **near, **worse, **few}).endswith(
        ", 9 seeds; 4 others are not distinguishable from it; 5 others are worse (p ≤ 0.035); "
        "1 run is too few to separate 4 others from it."
    )


def test_all_tie(said):
    """Schedules with equal means are reported as a tie."""
    found = said({STEP: [0.5] * 3, COSINE: [0.5] * 3, CYCLE: [0.5] * 3})

    assert found == "All 3 schedules tie at a final loss of 0.5000."


def test_some_tie_for_the_first_place(said):
    """Schedules that tie for the best are named together, and the others are compared with them."""
    found = said({STEP: _around(0.5), COSINE: _around(0.5), CYCLE: _around(1.5)})

    assert found == (
        "CosineAnnealingLR and StepLR tie for the lowest final loss: 0.500 [0.498, 0.501], "
        "8 seeds; OneCycleLR is 200 % worse (p = 0.016)."
    )


def test_large_values_and_no_percentage(said):
    """Differences of accuracies are absolute, because percentages would be read as points."""
    found = said(
        {STEP: _around(0.5), COSINE: _around(0.94), CYCLE: _around(0.94, ASIDE)}, mode="max"
    )

    assert "has the highest final loss: 0.9400 [" in found
    assert found.endswith("StepLR is 0.440 lower (p = 0.016).")


@pytest.mark.parametrize(
    ("best", "other", "expected"),
    [
        (-1.0, 0.5, "is 1.50 higher (p = 0.0078)."),
        (0.0, 0.5, "is 0.500 higher (p = 0.0078)."),
        (0.1, 3.5, "is 35 times as high (p = 0.0078)."),
        (1.0, 1.014, "is 1.4 % worse (p = 0.0078)."),
    ],
)
def test_percentages_only_where_they_make_sense(said, best, other, expected):
    """Around and below zero differences are absolute, and huge ones are factors."""
    assert said({STEP: _around(best), CYCLE: _around(other)}).endswith(expected)


def test_divergence_is_told_as_that(said):
    """A schedule with diverged runs is reported as diverged, not as a percentage worse."""
    found = said({STEP: _around(0.5), CYCLE: [*_around(0.6)[:7], math.nan], COSINE: [math.inf] * 8})

    assert found.endswith(
        "OneCycleLR diverged in 1 of 8 runs, CosineAnnealingLR diverged in all 8 runs."
    )


def test_runs_that_go_on(said):
    """The headline says how many runs of the best schedule have not finished."""
    found = said({STEP: [0.1, 0.2, 0.3], CYCLE: [0.5, 0.6, 0.7]}, states={(STEP, 1): State.RUNNING})

    assert "], 3 seeds (1 not finished); 3 runs are too few" in found


def test_schedules_without_the_metric(said, add):
    """Schedules without the metric are reported as such, also against a baseline."""
    add(EXP, [], seed=0)
    losses = {STEP: [0.1, 0.2], COSINE: [0.3, 0.4]}

    assert said(losses).endswith(
        "; 2 runs are too few to separate CosineAnnealingLR from it; ExponentialLR has no loss."
    )
    assert said({}, baseline="ExponentialLR").endswith(
        "2 seeds. Against the baseline ExponentialLR: no runs to compare."
    )


def test_against_a_baseline(said):
    """With a baseline, the other schedules are better or worse than it."""
    values = {
        CYCLE: _around(0.4), STEP: _around(0.5), COSINE: _around(0.6), EXP: _around(0.5, ASIDE),
    }  # fmt: skip

    assert said(values, baseline="StepLR").endswith(
        "8 seeds. Against the baseline StepLR: OneCycleLR is 20 % better (p = 0.023); "
        "ExponentialLR is not distinguishable from it; CosineAnnealingLR is 20 % worse (p = 0.023)."
    )


def test_the_baseline_may_be_the_best(said):
    """A baseline that is the best is named as both."""
    found = said({CYCLE: _around(0.4), STEP: _around(0.6)}, baseline="OneCycleLR")

    assert found.startswith("OneCycleLR, the baseline, has the lowest final loss: 0.4000 [")
    assert found.endswith("StepLR is 50 % worse (p = 0.0078).")


def test_a_tie_with_the_baseline(said):
    """A schedule behind the best may tie with the baseline."""
    found = said({CYCLE: _around(0.4), STEP: _around(0.6), EXP: _around(0.6)}, baseline="StepLR")

    assert found.endswith(
        "Against the baseline StepLR: OneCycleLR is 33 % better (p = 0.016); "
        "ExponentialLR ties with it."
    )


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("ExponentialLR",
         "ExponentialLR, the baseline, has the lowest final loss: 0.5000 ± 0.1414, 2 seeds; "
         "StepLR ties with it; 2 runs are too few"),
        ("StepLR",
         "ExponentialLR and StepLR tie for the lowest final loss: 0.5000 ± 0.1414, 2 seeds. "
         "Against the baseline StepLR: ExponentialLR ties with it; 2 runs are too few"),
    ],
)  # fmt: skip
def test_the_baseline_may_tie_for_the_first_place(said, baseline, expected):
    """A baseline that ties for the best is reported with the tie."""
    losses = {EXP: [0.4, 0.6], STEP: [0.6, 0.4], CYCLE: [0.8, 0.9]}

    assert said(losses, baseline=baseline).startswith(expected)


def test_long_names_are_cut(said):
    """Long names are cut, also those of wide characters."""
    found = said({Schedule("学" * 200): [0.1], Schedule("x" * 200): [0.2]})

    assert "学" * 23 + "… has" in found
    assert "x" * 47 + "… from" in found


def test_runs_without_seeds_are_runs(said, add):
    """Runs without distinct seeds are called runs."""
    add(STEP, [0.3], id="a" * 32)

    assert said({STEP: [0.1]}) == "StepLR ends at loss 0.2000 ± 0.1414, 2 runs."
