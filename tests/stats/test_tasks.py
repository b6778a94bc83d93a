"""Comparisons over several tasks."""

import math

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.aggregates import PROFILE, aggregates_of, mean_ranks, optimality_gap, profile
from lrtrack.stats.intervals import interquartile_mean

A, B, C = (Schedule(f"{letter}LR") for letter in "ABC")


@pytest.fixture(scope="session")
def compared(make_history):
    """Compares schedules by their losses on each task, given by seed."""

    def compare(losses, **options):
        histories = [
            make_history(
                {"loss": [loss]}, schedule=schedule, seed=seed, config={"data": task},
                id=f"{schedule.name}-{task}-{seed}",
            )
            for schedule, by_task in losses.items()
            for task, values in by_task.items()
            for seed, loss in enumerate(values)
        ]  # fmt: skip
        options = {"task": "config.data", **options}
        return compare_histories(histories, experiment=None, metric="loss", **options)

    return compare


LOSSES = {
    A: {"mnist": [0.10, 0.11, 0.12], "cifar": [4.0, 4.2, 4.4]},
    B: {"mnist": [0.12, 0.14, 0.13], "cifar": [5.0, 5.4, 5.1]},
    C: {"mnist": [0.21, 0.23, 0.22], "cifar": [8.0, 8.8, 8.4]},
}


def test_scores_are_relative_to_the_best_of_each_task(compared):
    """Each value is divided by the best schedule's mean on its task."""
    found = compared(LOSSES)

    assert [item.schedule for item in found.schedules] == ["ALR", "BLR", "CLR"]
    assert [[task.task for task in item.tasks] for item in found.schedules] == [
        ["cifar", "mnist"]
    ] * 3
    assert [task.mean for task in found.schedules[2].tasks] == pytest.approx([8.4, 0.22])
    assert [task.score for task in found.schedules[2].tasks] == pytest.approx([2.0, 2.0])
    assert found.schedules[0].final.mean == pytest.approx(1.0)
    assert found.schedules[2].final.mean == pytest.approx(2.0)


def test_differences_pair_by_task_and_seed(compared):
    """Differences of scores are paired by task and seed, and find what is worse."""
    found = compared(LOSSES)

    assert found.test.seeds == 6
    assert [item.verdict for item in found.schedules] == ["best", "worse", "worse"]
    assert found.schedules[2].vs_best.difference == pytest.approx(1.0)


def test_ranks_over_tasks(compared):
    """The mean rank is over tasks, with an interval of what other runs would give."""
    losses = {**LOSSES, B: {"mnist": [0.09, 0.10, 0.15], "cifar": [5.0, 5.4, 5.1]}}
    found = {item.schedule: item.across for item in compared(losses).schedules}

    assert [found[name].rank for name in ("ALR", "BLR", "CLR")] == [1.0, 2.0, 3.0]
    assert found["ALR"].rank_ci95[0] < found["ALR"].rank_ci95[1]
    assert found["CLR"].rank_ci95 == (3.0, 3.0)


def test_ties_share_a_rank():
    """Tied schedules have the mean of their ranks, and a schedule without a task the last one."""
    means = np.array([[1.0, 2.0], [1.0, 1.0], [5.0, math.inf]])

    assert mean_ranks(means, "min").tolist() == [1.75, 1.25, 3.0]
    assert mean_ranks(-means, "max").tolist() == [1.75, 1.25, 3.0]


def test_the_aggregates_are_rliables():
    """Interquartile mean and optimality gap equal rliable's; a profile has the shares above."""
    metrics = pytest.importorskip("rliable.metrics")
    scores = np.round(np.random.default_rng(7).lognormal(0.0, 0.7, (5, 26)), 1)

    assert metrics.aggregate_iqm(scores) == pytest.approx(interquartile_mean(scores.ravel()))
    assert metrics.aggregate_optimality_gap(scores) == pytest.approx(
        optimality_gap(scores.ravel(), "max")
    )
    assert profile(scores.ravel(), PROFILE, "max") == tuple(
        float(np.mean(scores > edge)) for edge in PROFILE
    )


def test_divergence_over_tasks(compared):
    """A diverged run counts as worst in the profile, and its schedule's median decides the rank."""
    losses = {**LOSSES, A: {"mnist": [0.10, math.nan, math.nan], "cifar": [4.0, math.nan, 4.4]}}
    found = compared(losses).schedules

    assert [item.schedule for item in found] == ["BLR", "CLR", "ALR"]
    assert found[2].verdict == "diverged"
    assert found[2].across.profile[-1] == 0.5


def test_the_optimality_gap_of_a_comparison(compared):
    """Each run's distance above the best mean of its task, averaged; below it, there is no gap."""
    found = {item.schedule: item.across for item in compared(LOSSES).schedules}
    above = [0.01 / 0.11, 0.2 / 4.2]  # the third run of A on each task; the first two have none

    assert found["ALR"].optimality_gap == pytest.approx(sum(above) / 6)
    assert found["CLR"].optimality_gap == pytest.approx(1.0)
    for across in found.values():
        low, high = across.optimality_gap_ci95
        assert 0.0 <= low <= across.optimality_gap <= high


@pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
def test_divergence_is_worst_in_aggregates(mode, sign):
    """A diverged run is cut off at the bad end of the interquartile mean, and has no finite gap."""
    scores = np.array([1.0, 1.1, 1.2, sign * math.inf])
    (found,) = aggregates_of([{"a": scores}], mode)

    assert found.iqm == pytest.approx(1.15 if mode == "min" else 1.05)
    assert (found.optimality_gap, found.optimality_gap_ci95) == (None, None)


def test_a_schedule_that_lacks_a_task(compared):
    """A schedule that did not run on every task is compared on its own, with a warning."""
    found = compared({**LOSSES, C: {"mnist": LOSSES[C]["mnist"]}})

    assert [item.code for item in found.warnings] == ["tasks-missing"]
    assert [task.score for task in found.schedules[2].tasks] == [None, pytest.approx(2.0)]
    assert found.schedules[2].across.optimality_gap_ci95[1] < 1.2  # of the task that it has


def test_a_warning_that_holds_on_several_tasks(make_history):
    """A warning that is the same for several tasks is given once, with their names."""
    histories = [
        make_history(
            {"loss": [1.0 + seed / 9 + index] * (1 + index)}, schedule=schedule, seed=seed,
            config={"data": task}, id=f"{schedule.name}-{task}-{seed}",
        )
        for index, schedule in enumerate((A, B))
        for task in ("mnist", "cifar")
        for seed in range(3)
    ]  # fmt: skip
    found = compare_histories(histories, experiment=None, metric="loss", task="config.data")
    budgets = [item.message for item in found.warnings if item.code == "budget-differs"]

    assert len(budgets) == 1
    assert budgets[0].startswith("cifar, mnist: ")


def test_there_must_be_several_tasks(compared):
    """One task, or an unknown field, is an error."""
    with pytest.raises(UsageError, match="Fix: leave the tasks out"):
        compared({A: {"mnist": [0.1]}})
    with pytest.raises(UsageError, match=r"config.dat.*config.data"):
        compared(LOSSES, task="config.dat")
