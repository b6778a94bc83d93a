"""Ranks, ties and verdicts."""

import math

import pytest

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

A, B, C, D = (Schedule(f"{letter}LR") for letter in "ABCD")


@pytest.fixture(scope="session")
def compared(make_history):
    """Compares schedules of single-step runs, given their losses by seed."""

    def compare(losses, **options):
        histories = [
            make_history(
                {"loss": [loss]}, schedule=schedule, seed=seed, id=f"{schedule.name}{seed}"
            )
            for schedule, values in losses.items()
            for seed, loss in enumerate(values)
        ]
        return compare_histories(histories, **{"experiment": None, "metric": "loss", **options})

    return compare


def _told(comparison):
    return [(item.label, item.rank, item.verdict) for item in comparison.schedules]


def test_equal_means_share_a_rank(compared):
    """Equal means share a rank and are ordered by label, even if they differ by rounding."""
    tenths = [0.1, 0.2, 0.3]
    found = compared({D: [0.5] * 3, C: tenths[::-1], B: tenths, A: [0.2 + 1e-9] * 3})

    assert _told(found) == [
        ("BLR", 1, "best"), ("CLR", 1, "tie"), ("ALR", 3, "indistinguishable"),
        ("DLR", 4, "worse"),
    ]  # fmt: skip
    assert [item["rank"] for item in found.to_dict()["schedules"]] == [1, 1, 3, 4]


def test_rounding_breaks_no_tie(compared):
    """Seven times 0.1 and three times 0.1 tie, although their means differ in the last digit."""
    found = compared({A: [0.1] * 7, B: [0.1] * 3})

    assert found.schedules[0].final.mean != found.schedules[1].final.mean
    assert [item.rank for item in found.schedules] == [1, 1]


def test_tied_behind_the_best(compared):
    """Schedules that tie behind the best share a rank, but do not have the verdict "tie"."""
    found = compared({A: [1.0, 1.1], B: [2.0, 2.1], C: [2.1, 2.0]})

    assert _told(found) == [("ALR", 1, "best"), ("BLR", 2, "worse"), ("CLR", 2, "worse")]


def test_schedules_that_only_diverged_tie(compared):
    """Schedules whose runs all diverged tie if the share of diverged runs is the same."""
    found = compared({A: [math.nan] * 2, B: [math.inf] * 2, C: [1.0, math.nan]})

    assert [(item.label, item.rank) for item in found.schedules] == [
        ("CLR", 1), ("ALR", 2), ("BLR", 2),
    ]  # fmt: skip


def test_verdicts_against_the_best(compared):
    """With enough runs, a clear difference is significant and a small one is not."""
    base = [1.0 + seed / 10 for seed in range(8)]
    near = [loss + (-1) ** seed / 10 + 0.001 for seed, loss in enumerate(base)]
    far = [loss + 1.0 for loss in near]
    found = compared({A: base, B: near, C: far})

    assert _told(found) == [
        ("ALR", 1, "best"), ("BLR", 2, "indistinguishable"), ("CLR", 3, "worse"),
    ]  # fmt: skip


def test_verdicts_against_a_baseline(compared):
    """Against a baseline, schedules are better or worse; ranks still follow the means."""
    base = [1.0 + seed / 10 for seed in range(8)]
    found = compared(
        {A: [loss - 1.0 for loss in base], B: base, C: [loss + 1.0 for loss in base], D: base},
        baseline="BLR",
    )

    assert _told(found) == [
        ("ALR", 1, "better"), ("BLR", 2, "baseline"), ("DLR", 2, "tie"), ("CLR", 4, "worse"),
    ]  # fmt: skip
    assert [item.p_improvement for item in found.schedules] == [1.0, None, 0.5, 0.0]


def test_a_single_run_borrows_the_spread(compared):
    """A schedule with one run is judged by the spread of the others, but has no interval."""
    found = compared({A: [1.0, 1.1, 1.3], B: [1.2, 1.0, 1.1], C: [9.5]})

    assert _told(found)[-1] == ("CLR", 3, "worse")
    assert found.schedules[2].final.ci95 is None


def test_mostly_diverged(compared):
    """A schedule of which most runs diverged is that, whatever the others show."""
    found = compared({A: [1.0, 1.1, 1.3], B: [1.0, math.nan, math.nan]})

    assert _told(found) == [("ALR", 1, "best"), ("BLR", 2, "diverged")]
    assert [item.could_be_best for item in found.schedules] == [True, False]


def test_could_be_best_is_about_the_best(compared):
    """Against a baseline too, `could_be_best` says which schedules may be the best ones."""
    found = compared(
        {A: [1.0, 1.1, 1.3], B: [1.2, 1.0, 1.2], C: [9.5, 9.6, 9.4]}, baseline="CLR"
    ).schedules

    assert [(item.label, item.verdict, item.could_be_best) for item in found] == [
        ("ALR", "better", True), ("BLR", "better", True), ("CLR", "baseline", False),
    ]  # fmt: skip


def test_a_schedule_without_the_metric_has_no_verdict(make_history):
    """A schedule without the metric has neither a verdict nor a probability of improvement."""
    histories = [
        make_history({"loss": [1.0]}, schedule=A, seed=0, id="a"),
        make_history({"lr": [1.0]}, schedule=B, seed=0, id="b"),
    ]
    found = compare_histories(histories, experiment=None, metric="loss").schedules[1]

    assert (found.verdict, found.p_improvement, found.final.mean) == ("none", None, None)


def test_improvement_counts_divergence_as_worst(compared):
    """A diverged run loses against every finite one and ties with another diverged one."""
    found = compared({A: [1.0, math.nan], B: [2.0, 3.0, math.nan]}, baseline="ALR")

    assert [item.label for item in found.schedules] == ["BLR", "ALR"]
    assert found.schedules[0].p_improvement == 5 / 12
    assert found.schedules[0].p_improvement_ci95 == pytest.approx((0.096, 0.830), abs=1e-3)
