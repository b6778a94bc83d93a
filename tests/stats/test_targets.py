"""Time to target over several tasks."""

import math

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.schedules import Schedule
from lrtrack.stats import SLOWEST, compare_histories
from lrtrack.stats.figures import Reach
from lrtrack.stats.targets import RATIOS, target_scores

A, B, C = (Schedule(f"{letter}LR") for letter in "ABC")
#: The step at which each schedule reaches the target on each task; None: it does not.
STEPS = {
    A: {"mnist": 9, "cifar": 49},
    B: {"mnist": 19, "cifar": 24},
    C: {"mnist": 29, "cifar": None},
}


@pytest.fixture
def compared(make_history):
    """Compares schedules whose loss falls from 2 to 0 at the given steps, one second a step."""

    def compare(steps=STEPS, **options):
        histories = [
            make_history(
                {"loss": [2.0 if at is None or step < at else 0.0 for step in range(60)]},
                schedule=schedule, seed=seed, config={"data": task},
                id=f"{schedule.name}-{task}-{seed}",
            )
            for schedule, by_task in steps.items()
            for task, at in by_task.items()
            for seed in range(3)
        ]  # fmt: skip
        options = {"task": "config.data", "target": 1.0, **options}
        return compare_histories(histories, experiment=None, metric="loss", **options)

    return compare


def test_the_score_is_the_area_under_the_profile(compared):
    """Each task adds max(0, 4 - ratio) / 3, and steps count from 1: the fifth one is step 4."""
    found = {item.schedule: item.across.steps_to_target for item in compared().schedules}

    assert found["ALR"].ratios == (50 / 25, 10 / 10)  # cifar, mnist
    assert found["BLR"].ratios == (25 / 25, 20 / 10)
    assert found["CLR"].ratios == (None, 30 / 10)
    assert {name: score.score for name, score in found.items()} == pytest.approx(
        {"ALR": (2 / 3 + 1) / 2, "BLR": (1 + 2 / 3) / 2, "CLR": (0 + 1 / 3) / 2}
    )
    assert found["CLR"].profile == tuple(0.5 * (tau >= 3.0) for tau in RATIOS)


def test_the_area_is_the_integral_of_the_profile():
    """The score equals a fine numerical integral of the share of tasks within each multiple."""
    reaches = [
        [Reach(1, 7.0), Reach(1, 9.0), Reach(1, 5.5)],
        [Reach(1, 4.0), Reach(0, None), Reach(1, 2.0)],
    ]
    sizes = 30_000
    taus = [1.0 + (SLOWEST - 1.0) * (at + 0.5) / sizes for at in range(sizes)]

    for score in target_scores(reaches):
        share = [sum(r is not None and r <= tau for r in score.ratios) / 3 for tau in taus]
        assert score.score == pytest.approx(sum(share) / sizes, abs=1e-4)


def test_seconds_are_scored_apart(compared):
    """A target that the first step reaches takes no seconds, of which nothing is a multiple."""
    found = {
        item.schedule: item.across.seconds_to_target
        for item in compared({**STEPS, A: {"mnist": 0, "cifar": 48}}).schedules
    }

    assert found["ALR"].ratios == (2.0, 1.0)
    assert found["BLR"].ratios == (1.0, None)


def test_a_target_for_each_task(compared):
    """A task that is not named has no target and does not count."""
    found = compared(target={"mnist": np.float32(1.0)})
    tasks = found.schedules[0].tasks

    assert found.to_dict()["target"] == {"mnist": 1.0}
    assert [(on.task, on.target, on.steps_to_target is None) for on in tasks] == [
        ("cifar", None, True), ("mnist", 1.0, False),
    ]  # fmt: skip
    assert {i.schedule: i.across.steps_to_target.ratios for i in found.schedules} == {
        "ALR": (1.0,), "BLR": (2.0,), "CLR": (3.0,),
    }  # fmt: skip


def test_without_a_target_there_is_no_score(compared):
    """Neither tasks nor schedules have times without a target."""
    item = compared(target=None).schedules[0]

    assert (item.across.steps_to_target, item.across.seconds_to_target) == (None, None)
    assert [on.steps_to_target for on in item.tasks] == [None, None]


def test_a_target_that_nobody_reaches(compared):
    """The task counts as missed by all, and a warning says so."""
    found = compared(target={"mnist": 1.0, "cifar": -1.0})

    assert [item.across.steps_to_target.ratios[0] for item in found.schedules] == [None] * 3
    assert found.warnings[0].code == "target-missed"
    assert "on cifar, which counts as missed" in found.warnings[0].message


def test_most_runs_must_reach_it(compared, make_history):
    """A schedule of which fewer than half of the runs reach the target has not reached it."""
    item = next(
        i
        for i in compared({**STEPS, A: {"mnist": None, "cifar": 3}}).schedules
        if i.schedule == "ALR"
    )

    assert item.across.steps_to_target.ratios == (1.0, None)
    assert [on.steps_to_target.reached for on in item.tasks] == [3, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": {"mnits": 1.0}}, r"Unknown task 'mnits'. Did you mean 'mnist'\?.*cifar, mnist"),
        ({"target": {"mnist": math.nan}}, "must be a finite number"),
        ({"target": math.inf}, "must be a finite number"),
        ({"target": {"mnist": "1.0"}}, "must be a finite number"),
        ({"target": {}}, "a mapping without a task"),
        ({"target": {"mnist": 1.0}, "task": None}, "are of one task. Fix: give one number"),
    ],
)
def test_targets_that_are_none(compared, options, message):
    """Unknown tasks, infinite targets, and targets by task of runs without tasks are errors."""
    with pytest.raises(UsageError, match=message):
        compared(**options)
