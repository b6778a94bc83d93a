"""The same runs in other units."""

import numpy as np
import pytest

from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

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
