"""Comparisons at each schedule's own best value of a setting."""

import math

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.reports.report import report_of
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.tuning import expected_best

COSINE, CONSTANT = Schedule("CosineAnnealingLR", {"T_max": 9}), Schedule("constant")


@pytest.fixture(scope="session")
def grid(make_history):
    """Builds the runs of a grid: each schedule's loss by rate, around which seeds spread."""

    def make(losses, seeds, **extra):
        return [
            make_history(
                {"loss": [loss + 0.01 * math.sin(7 * seed + 9 * rate)], "lr": [rate]},
                schedule=schedule,
                seed=seed,
                id=f"{schedule.id}-{rate}-{seed}",
                optimizer={"name": "SGD", "lr": rate},
                **extra,
            )
            for schedule, by_rate in losses.items()
            for rate, loss in by_rate.items()
            for seed in range(seeds)
        ]

    return make


LOSSES = {COSINE: {0.1: 3.0, 0.3: 2.0, 1.0: 1.0}, CONSTANT: {0.1: 1.5, 0.3: 2.5, 1.0: 9.0}}


def _compare(histories, **options):
    return compare_histories(histories, experiment=None, metric="loss", **options)


def test_each_schedule_at_its_best_rate(grid):
    """Untuned, the schedule wins that one common rate suits; tuned, the better one."""
    found = _compare(grid(LOSSES, 6), tune="optimizer.lr").schedules

    assert [item.label for item in found] == [
        "CosineAnnealingLR(T_max=9), optimizer.lr=1.0", "constant, optimizer.lr=0.1",
    ]  # fmt: skip
    assert [item.tuning.value for item in found] == [1.0, 0.1]
    assert [[trial.value for trial in item.tuning.tried] for item in found] == [[0.1, 0.3, 1.0]] * 2
    assert [item.verdict for item in found] == ["best", "worse"]


def test_a_tuned_rate_of_the_schedule_is_not_part_of_its_short_name(grid):
    """A schedule that sets its own peak is named without its parameters, and with the best peak."""
    runs = grid({Schedule("OneCycleLR", {"max_lr": rate, "pct_start": 0.3}): {rate: 1.0 + rate}
                 for rate in (0.1, 0.3)}, 3)  # fmt: skip
    found = _compare(runs, tune="optimizer.lr")

    assert [item.tuning.value for item in found.schedules] == [0.1]
    assert report_of(found).names == ("OneCycleLR, optimizer.lr=0.1",)


def test_seeds_that_choose_do_not_count(grid):
    """With enough seeds, half of them choose the value and the others are compared."""
    found = _compare(grid(LOSSES, 6), tune="optimizer.lr").schedules

    assert [item.tuning.chosen_on for item in found] == [(0, 2, 4)] * 2
    assert [item.seeds for item in found] == [(1, 3, 5)] * 2
    assert not any(item.optimistic for item in found)


def test_few_seeds_are_optimistic(grid):
    """With few seeds, the same runs do both, and a warning says so."""
    found = _compare(grid(LOSSES, 3), tune="optimizer.lr")

    assert [item.seeds for item in found.schedules] == [(0, 1, 2)] * 2
    assert all(item.optimistic and item.tuning.optimistic for item in found.schedules)
    assert [item.code for item in found.warnings] == ["tuned-on-the-same-runs"]


def test_unequal_numbers_of_values(grid):
    """More values for one schedule than for another are a warning."""
    losses = {**LOSSES, CONSTANT: {0.1: 1.5}}
    found = _compare(grid(losses, 4), tune="optimizer.lr")

    assert "tuned-unequally" in [item.code for item in found.warnings]
    assert found.schedules[1].tuning.optimistic is False


def test_the_peak_is_the_common_axis(grid):
    """Where the schedule sets the rate, its peak is the value, and schedules of different peaks are
    one.
    """
    cycles = {
        Schedule("OneCycleLR", {"max_lr": peak, "total_steps": 9}): {0.004: loss}
        for peak, loss in ((0.1, 2.0), (1.0, 1.2))
    }
    found = _compare(grid({**cycles, CONSTANT: {0.1: 1.5}}, 3), tune="optimizer.lr").schedules

    assert [item.label for item in found] == [
        "OneCycleLR(total_steps=9), optimizer.lr=1.0", "constant, optimizer.lr=0.1",
    ]  # fmt: skip
    assert found[0].params == {"max_lr": 1.0, "total_steps": 9}


def test_a_parameter_of_the_schedule(grid):
    """A parameter of the schedule can be tuned, and does not tell schedules apart then."""
    steps = {Schedule("StepLR", {"gamma": g, "step_size": 3}): {0.1: g} for g in (0.5, 0.1)}
    found = _compare(grid(steps, 3), tune="scheduler.gamma").schedules

    assert [(item.label, item.tuning.value) for item in found] == [
        ("StepLR(step_size=3), scheduler.gamma=0.1", 0.1)
    ]


def test_a_value_that_diverges_is_not_chosen(grid):
    """A value at which half of the runs diverge is not the best one."""
    found = _compare(grid({CONSTANT: {0.1: 1.5, 1.0: math.nan}}, 3), tune="lr_peak").schedules

    assert (found[0].tuning.value, found[0].tuning.tried[1].diverged) == (0.1, 3)


def test_the_expected_best_of_k():
    """The expected best of k draws is that of all k-tuples (Dodge et al., 2019)."""
    values = [3.0, 1.0, 2.0]
    pairs = [min(one, other) for one in values for other in values]

    assert expected_best(values, "min")[:2] == pytest.approx((2.0, np.mean(pairs)))
    assert expected_best(values, "max")[2] == pytest.approx(
        np.mean([max(a, b, c) for a in values for b in values for c in values])
    )
    assert expected_best([], "min") == ()


def test_an_unknown_field(grid):
    """An unknown field is an error with the nearest name."""
    with pytest.raises(UsageError, match=r"optimizer.lrr.*optimizer.lr"):
        _compare(grid(LOSSES, 1), tune="optimizer.lrr")
