"""The same runs in other units."""

import numpy as np
import pytest

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.scale import on_scale, scale_of

#: Final accuracies of schedules whose errors scatter in proportion to their size.
FINALS = {
    "A": [0.978, 0.982, 0.976], "B": [0.974, 0.971, 0.979], "C": [0.961, 0.973, 0.968],
    "D": [0.80, 0.86, 0.91], "E": [0.972, 0.969, 0.975], "F": [0.966, 0.957, 0.970],
}  # fmt: skip


def _compared(make_history, convert, mode):
    histories = [
        make_history(
            {"score": [convert(value)]}, schedule=Schedule(name), seed=seed, id=f"{name}{seed}"
        )
        for name, values in FINALS.items()
        for seed, value in enumerate(values)
    ]
    return compare_histories(histories, experiment=None, metric="score", mode=mode)


def test_fractions_percentages_and_errors_agree(make_history):
    """Accuracies, percentages and errors of the same runs give the same p-values and verdicts."""
    found = [
        _compared(make_history, convert, mode)
        for convert, mode in (
            (lambda value: value, "max"),
            (lambda value: 100.0 * value, "max"),
            (lambda value: 1.0 - value, "min"),
        )
    ]
    p_values = [[item.p_vs_best for item in one.schedules[1:]] for one in found]

    assert [one.test.scale for one in found] == ["log-distance", "log-percent", "log"]
    assert p_values[1] == pytest.approx(p_values[0])
    assert p_values[2] == pytest.approx(p_values[0])
    assert [one.schedules[-1].verdict for one in found] == ["worse"] * 3
    assert found[1].schedules[0].final.ci95 == pytest.approx(
        100.0 * np.array(found[0].schedules[0].final.ci95)
    )
    assert found[0].schedules[-1].vs_best.difference == pytest.approx(
        -found[2].schedules[-1].vs_best.difference
    )


def test_scores_stay_above_0(make_history):
    """No interval holds an accuracy below 0, however far a schedule's runs scatter."""
    finals = {**FINALS, "G": [0.05, 0.93, 0.999]}
    histories = [
        make_history({"score": [value]}, schedule=Schedule(name), seed=seed, id=f"{name}{seed}")
        for name, values in finals.items()
        for seed, value in enumerate(values)
    ]
    found = compare_histories(histories, experiment=None, metric="score", mode="max")
    best, worst = found.schedules[0], next(row for row in found.schedules if row.schedule == "G")

    assert found.test.scale == "log-distance"
    assert worst.final.ci95[0] == 0.0
    assert worst.vs_best.ci95[0] == pytest.approx(-best.final.mean)


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        ([], "log", True),
        ([-1.0, 0.0], "linear", True),
        ([1.0, 1e-11], "log", True),
        ([1.0, 1e-13], "log", False),
        ([1.0, 0.0], "log", False),
        ([0.0, 0.5], "log-distance", True),
        ([-0.001, 0.5], "log-distance", False),
        ([0.5, 1.0], "log-distance", False),
        ([0.5, 1.0 - 1e-11], "log-distance", True),
        ([0.5, 1.0 - 1e-13], "log-distance", False),
        ([0.0, 99.0], "log-percent", True),
        ([-1.0, 99.0], "log-percent", False),
        ([99.9, 100.5], "log-percent", False),
        ([100.0 - 1e-11], "log-percent", False),  # 1e-12 of 100, not of the distance
    ],
)
def test_which_values_have_logarithms(values, scale, expected):
    """Values have logarithms on a scale if their distances to its bound are above rounding."""
    assert on_scale(np.array(values), scale) is expected


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_scale_does_not_depend_on_the_unit(size):
    """Losses that scatter in proportion to their size are compared by logarithms, in any unit."""
    scattered = [np.array([1.0, 2.0, 3.0]) * size, np.array([10.0, 20.0, 30.0]) * size]
    shifted = [np.array([1.0, 2.0, 3.0]) * size, np.array([10.0, 11.0, 12.0]) * size]

    assert (scale_of(scattered, "min"), scale_of(shifted, "min")) == ("log", "linear")
