"""The columns of CSV reports that comparisons over tasks and tuned ones fill."""

import csv
import io
import json

import pytest

from lrtrack.reports import csvtext
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories


@pytest.fixture
def rows(run_of):
    """The rows of two schedules, each with two seeds on two data sets, by schedule."""
    runs = [
        run_of(Schedule(name), seed, config={"data": data}, loss=[4.0, (1 + at) * (1.0 + seed)])
        for at, name in enumerate(("StepLR", "CyclicLR"))
        for data in ("a", "b")
        for seed in range(2)
    ]

    def make(**options):
        text = csvtext.render(compare_histories(runs, experiment=None, metric="loss", **options))
        return {row["schedule"]: row for row in csv.DictReader(io.StringIO(text))}

    return make


def test_aggregates_over_tasks(rows):
    """Rank, interquartile mean, optimality gap and target scores have columns with intervals."""
    found = rows(task="config.data", target=2.5)
    best, other = found["StepLR"], found["CyclicLR"]

    assert json.loads(other["task_scores"]) == {"a": 2.0, "b": 2.0}
    assert (best["task_rank"], other["task_rank"]) == ("1.0", "2.0")
    assert float(best["task_iqm"]) == pytest.approx(1.0)
    assert float(best["task_optimality_gap"]) == pytest.approx((0 + 1 / 3) / 2)
    assert float(best["task_optimality_gap_ci95_low"]) <= 1 / 6
    assert best["task_steps_to_target_score"] == "1.0"
    assert float(best["p_improvement_ci95_low"] or 0.5) <= 0.5


def test_trials(rows):
    """The expected best of k tried values has a column, and that of tasks stays empty."""
    found = rows(tune="config.data")["StepLR"]

    assert len(json.loads(found["tuned_expected_best"])) == 2
    assert found["task_rank"] == ""
