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
    """The headline has the best with its interval and seeds, the one that may be as good, the
    worse one, and how many seeds are missing.
    """
    found = said({CYCLE: _around(0.082), WIDE: _around(0.085, ASIDE), STEP: _around(0.0918)})

    assert found == (
        "OneCycleLR(max_lr=0.1) has the lowest final loss: 0.08200 [0.08017, 0.08383], 8 seeds; "
        "OneCycleLR(max_lr=0.3) (0.0030 [−0.0021, 0.0081]) may be as good; "
        "StepLR is worse by 0.00980 [0.00967, 0.00993]; "
        "22 more seeds would resolve a difference of 0.0030."
    )


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5], "StepLR ends at loss 0.5000, 1 seed."),
        ([0.4, 0.6], "StepLR ends at loss 0.5000 [-0.7706, 1.7706], 2 seeds."),
        ([0.5, 0.5, 0.5], "StepLR ends at loss 0.5000 ± 0.0000, 3 seeds."),
        ([0.4, 0.6, math.nan],
         "StepLR ends at loss 0.5000 [-0.7706, 1.7706], 2 seeds (diverged in 1 of 3)."),
        ([math.nan], "No schedule has a usable final loss: its only run diverged."),
        ([math.nan] * 3, "No schedule has a usable final loss: all 3 runs diverged."),
    ],
)  # fmt: skip
def test_one_schedule(said, losses, expected):
    """A single schedule is reported without a comparison."""
    assert expected == said({STEP: losses})


def test_too_few_runs(said):
    """Where each schedule has one run, the headline says that they cannot be separated."""
    assert said({STEP: [0.1], COSINE: [0.3]}) == (
        "StepLR has the lowest final loss: 0.1000, 1 seed; "
        "1 run is too few to separate CosineAnnealingLR from it."
    )


def test_no_spread(said):
    """Where the runs of each schedule are equal, the headline says so."""
    assert said({STEP: [0.1] * 3, COSINE: [0.3] * 3}) == (
        "StepLR has the lowest final loss: 0.1000 ± 0.0000, 3 seeds; "
        "runs that do not differ cannot separate CosineAnnealingLR from it."
    )


def test_three_seeds_of_several_schedules(said):
    """Three seeds are enough for a large difference, as schedules share the spread."""
    near = {Schedule("CyclicLR", {"n": at}): [0.51 + at / 1e3, 0.5, 0.52] for at in range(5)}

    assert said({CYCLE: [0.5, 0.51, 0.5], **near, STEP: [0.7, 0.71, 0.72]}).endswith(
        "CyclicLR(n=0) (0.007 [−0.043, 0.056]) and 4 others may be as good; "
        "StepLR is worse by 0.207 [0.163, 0.251]; "
        "70 more seeds would resolve a difference of 0.007."
    )


def test_equivalent_schedules(said):
    """With a margin, schedules whose whole interval lies within it are called equivalent."""
    found = said({CYCLE: _around(0.5), STEP: _around(0.5001, ASIDE)}, margin=0.01)

    assert found.endswith("8 seeds; StepLR is equivalent within 0.01.")


def test_many_schedules_keep_it_short(said):
    """More than three schedules with the same verdict are counted."""
    nine = [*EIGHT, 0.0]
    worse = {Schedule("StepLR", {"n": at}): _around(1.0 + at, nine) for at in range(5)}
    near = {Schedule("CyclicLR", {"n": at}): _around(0.5, [*ASIDE, 0.0]) for at in range(4)}
    few = {Schedule("LinearLR", {"n": at}): [9.0] for at in range(4)}

    assert said({CYCLE: _around(0.49999, nine), **near, **worse, **few}).endswith(
        ", 9 seeds; CyclicLR(n=0) (0.0000 [−0.0040, 0.0041]) and 3 others may be as good; "
        "9 others are worse by 0.5000 or more."
    )


def test_all_tie(said):
    """Schedules with equal means are reported as a tie."""
    found = said({STEP: [0.5] * 3, COSINE: [0.5] * 3, CYCLE: [0.5] * 3})

    assert found == "All 3 schedules tie at a final loss of 0.5000."


def test_some_tie_for_the_first_place(said):
    """Schedules that tie for the best are named together, and the others are compared with them."""
    found = said({STEP: _around(0.5), COSINE: _around(0.5), CYCLE: _around(1.5)})

    assert found == (
        "CosineAnnealingLR and StepLR tie for the lowest final loss: 0.500 [0.498, 0.502], "
        "8 seeds; OneCycleLR is worse by 1.00000 [0.99962, 1.00038]."
    )


@pytest.mark.parametrize(
    ("best", "other", "expected"),
    [
        (-1.0, 0.5, "is worse by 1.5000 [1.4959, 1.5041]."),
        (0.0, 0.5, "is worse by 0.5000 [0.4959, 0.5041]."),
        (0.1, 3.5, "is worse by 3.4000 [3.3959, 3.4041]."),
    ],
)
def test_differences_are_in_the_metrics_unit(said, best, other, expected):
    """Differences are those of the means, with an interval, on both sides of zero."""
    assert said({STEP: _around(best), CYCLE: _around(other, ASIDE)}).endswith(expected)


def test_large_values_may_be_good(said):
    """With mode max, the highest value is the best and lower ones are worse."""
    found = said(
        {STEP: _around(0.5), COSINE: _around(0.94), CYCLE: _around(0.94, ASIDE)}, mode="max"
    )

    assert "has the highest final loss: 0.9400 [" in found
    assert found.endswith("StepLR is worse by 0.4400 [0.4349, 0.4451].")


def test_divergence_is_told(said):
    """Divergence is in the headline, also that of the best schedule."""
    found = said(
        {STEP: [*_around(0.5)[:7], math.nan], CYCLE: [*_around(0.6, ASIDE)[:7], math.nan],
         COSINE: [math.inf] * 8}
    )  # fmt: skip

    assert "7 seeds (diverged in 1 of 8); OneCycleLR is worse by 0.1" in found
    assert found.endswith(
        "; OneCycleLR diverged in 1 of 8 runs, CosineAnnealingLR diverged in all 8 runs."
    )


def test_runs_that_go_on(said):
    """The headline says how many runs of the best schedule have not finished."""
    found = said({STEP: [0.1, 0.2, 0.3], CYCLE: [0.5, 0.6, 0.7]}, states={(STEP, 1): State.RUNNING})

    assert "], 2 seeds (1 not finished); OneCycleLR" in found


def test_nothing_has_finished(said):
    """Without a finished run, the headline says how to count the others."""
    found = said({STEP: [0.1, math.nan]}, states={(STEP, 0): State.RUNNING})

    assert found == (
        "No schedule has a usable final loss: 1 of 2 runs diverged, 1 of 2 runs has not finished. "
        "Fix: count unfinished runs with --include-unfinished."
    )


def test_schedules_without_the_metric(said, add):
    """Schedules without the metric are reported as such, also against a baseline."""
    add(EXP, [], seed=0)
    losses = {STEP: [0.1], COSINE: [0.3]}

    assert said(losses).endswith(
        "; 1 run is too few to separate CosineAnnealingLR from it; ExponentialLR has no loss."
    )
    assert said({}, baseline="ExponentialLR").endswith(
        "1 seed. Against the baseline ExponentialLR: no runs to compare."
    )


def test_against_a_baseline(said):
    """With a baseline, the other schedules are better or worse than it."""
    values = {
        CYCLE: _around(0.4), STEP: _around(0.5), COSINE: _around(0.6), EXP: _around(0.5, ASIDE),
    }  # fmt: skip

    assert said(values, baseline="StepLR").endswith(
        "8 seeds. Against the baseline StepLR: "
        "OneCycleLR is better by 0.100000 [0.099961, 0.100039]; "
        "ExponentialLR (0.0000 [−0.0053, 0.0053]) may be as good; "
        "CosineAnnealingLR is worse by 0.100000 [0.099961, 0.100039]."
    )


def test_the_baseline_may_be_the_best(said):
    """A baseline that is the best is named as both."""
    found = said({CYCLE: _around(0.4), STEP: _around(0.6)}, baseline="OneCycleLR")

    assert found.startswith("OneCycleLR, the baseline, has the lowest final loss: 0.4000 [")
    assert found.endswith("StepLR is worse by 0.20000 [0.19966, 0.20034].")


def test_a_tie_with_the_baseline(said):
    """A schedule behind the best may tie with the baseline."""
    found = said({CYCLE: _around(0.4), STEP: _around(0.6), EXP: _around(0.6)}, baseline="StepLR")

    assert found.endswith(
        "Against the baseline StepLR: OneCycleLR is better by 0.20000 [0.19964, 0.20036]; "
        "ExponentialLR ties with it."
    )


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("ExponentialLR",
         "ExponentialLR, the baseline, has the lowest final loss: 0.5000 [0.1700, 0.8300], "
         "2 seeds; OneCycleLR (0.4 [−0.8, 1.5]) may be as good; StepLR ties with it; 3 more"),
        ("StepLR",
         "ExponentialLR and StepLR tie for the lowest final loss: 0.5000 [0.1700, 0.8300], "
         "2 seeds. Against the baseline StepLR: OneCycleLR (0.35 [−0.57, 1.27]) may be as good; "
         "ExponentialLR ties with it; 4 more seeds"),
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

    assert said({STEP: [0.1]}) == "StepLR ends at loss 0.2000 [-1.0706, 1.4706], 2 runs."


def test_groups_are_not_called_schedules(add, histories):
    """Where runs are grouped by a setting, nothing in the report calls the groups schedules."""
    for batch in (8, 16, 32):
        for seed in range(2):
            add(STEP, [0.1 * batch + seed / 100], seed=seed, id=f"{batch:030}{seed:02}",
                config={"batch": batch})  # fmt: skip
    comparison = compare_histories(
        histories(), experiment=None, metric="loss", group_by="config.batch"
    )
    report = report_of(comparison)
    texts = (report.title, *report.footnotes, *report.warnings)

    assert report.title == "loss (lower is better) · 3 groups, 6 runs"
    assert report.columns[1].title == "group"
    assert report.headline.startswith("config.batch=8 has the lowest final loss: 0.805 [")
    assert [text for text in texts if "schedule" in text] == []
    assert "spread pooled over groups" in " ".join(texts)


@pytest.mark.parametrize("group_by", ["schedule", "name", "scheduler.id", "scheduler.name,name"])
def test_schedules_are_called_so(add, histories, group_by):
    """Groups by the schedule or its name are schedules."""
    add(STEP, [0.1], seed=0)
    add(EXP, [0.2], seed=0)
    comparison = compare_histories(histories(), experiment=None, metric="loss", group_by=group_by)

    assert report_of(comparison).title == "loss (lower is better) · 2 schedules, 2 runs"
