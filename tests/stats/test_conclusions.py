"""Ranks, ties and conclusions against the best schedule."""

import math

import pytest

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

A, B, C, D = (Schedule(f"{letter}LR") for letter in "ABCD")


@pytest.fixture(scope="session")
def compared(make_history):
    """A function that compares schedules by single-step runs, given their losses by seed."""

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
    """Means that are equal up to rounding share a rank, and the next rank is skipped."""
    tenths = [0.1, 0.2, 0.3]
    comparison = compared({D: [0.5] * 3, C: tenths[::-1], B: tenths, A: [0.2 + 1e-9] * 3})

    assert _told(comparison) == [
        ("BLR", 1, "best"), ("CLR", 1, "tie"), ("ALR", 3, "too-few-runs"),
        ("DLR", 4, "too-few-runs"),
    ]  # fmt: skip
    assert [item["rank"] for item in comparison.to_dict()["schedules"]] == [1, 1, 3, 4]


def test_rounding_breaks_no_tie(compared):
    """The mean of seven times 0.1 differs from that of three times 0.1 only by rounding: a tie."""
    comparison = compared({A: [0.1] * 7, B: [0.1] * 3})

    assert comparison.schedules[0].final.mean != comparison.schedules[1].final.mean
    assert [item.rank for item in comparison.schedules] == [1, 1]


def test_tied_behind_the_best(compared):
    """A tie further down is a shared rank, and no tie with the best."""
    comparison = compared({A: [1.0] * 8, B: [2.0] * 8, C: [2.0] * 8})

    assert _told(comparison) == [("ALR", 1, "best"), ("BLR", 2, "worse"), ("CLR", 2, "worse")]


def test_schedules_that_only_diverged_tie(compared):
    """Schedules without any value are ranked only by the share of diverged runs."""
    comparison = compared({A: [math.nan] * 2, B: [math.inf] * 2, C: [1.0, math.nan]})

    assert [(item.label, item.rank) for item in comparison.schedules] == [
        ("CLR", 1), ("ALR", 2), ("BLR", 2),
    ]  # fmt: skip


def test_verdicts_against_the_best(compared):
    """With enough runs, a clear difference and no difference are distinguished."""
    base = [1.0 + seed / 10 for seed in range(8)]
    near = [loss + (-1) ** seed / 10 + 0.001 for seed, loss in enumerate(base)]
    comparison = compared({A: base, B: near, C: [loss + 1.0 for loss in base]})

    assert _told(comparison) == [
        ("ALR", 1, "best"), ("BLR", 2, "indistinguishable"), ("CLR", 3, "worse"),
    ]  # fmt: skip


def test_verdicts_against_a_baseline(compared):
    """Schedules are better or worse than a baseline; ranks are still those of the means."""
    base = [1.0 + seed / 10 for seed in range(8)]
    comparison = compared(
        {A: [loss - 1.0 for loss in base], B: base, C: [loss + 1.0 for loss in base], D: base},
        baseline="BLR",
    )

    assert _told(comparison) == [
        ("ALR", 1, "better"), ("BLR", 2, "baseline"), ("DLR", 2, "tie"), ("CLR", 4, "worse"),
    ]  # fmt: skip
    assert [item.p_improvement for item in comparison.schedules] == [1.0, None, 0.5, 0.0]


def test_too_few_runs_of_some(compared):
    """Whether the runs are enough is decided for each schedule, and reported with the number."""
    base = [1.0 + seed / 10 for seed in range(8)]
    comparison = compared({A: base, B: [loss + 5.0 for loss in base], C: [9.0, 9.1], D: [9.5]})
    messages = {item.code: item.message for item in comparison.warnings}

    assert [verdict for _, _, verdict in _told(comparison)] == [
        "best", "worse", "worse", "too-few-runs",
    ]  # fmt: skip
    assert [item.p_vs_best for item in comparison.schedules] == [
        None, pytest.approx(2 * 2 / 2**8), pytest.approx(2 / 45), None,
    ]  # fmt: skip
    assert messages["too-few-runs"].startswith(
        "Too few runs to separate schedules (n=1) for 1 of 3 schedules: with this many"
    )


def test_a_schedule_without_the_metric_has_no_verdict(make_history):
    """A schedule without records of the metric has neither a conclusion nor an improvement."""
    histories = [
        make_history({"loss": [1.0]}, schedule=A, seed=0, id="a"),
        make_history({"lr": [1.0]}, schedule=B, seed=0, id="b"),
    ]
    row = compare_histories(histories, experiment=None, metric="loss").schedules[1]

    assert (row.verdict, row.p_improvement, row.final.mean) == ("none", None, None)


def test_improvement_counts_divergence_as_worst(compared):
    """A diverged run loses against every other and ties with other diverged runs."""
    comparison = compared({A: [1.0, math.nan], B: [2.0, 3.0, math.nan]}, baseline="ALR")

    assert [item.label for item in comparison.schedules] == ["BLR", "ALR"]
    assert comparison.schedules[0].p_improvement == 5 / 12
