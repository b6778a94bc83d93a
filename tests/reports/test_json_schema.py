"""The JSON of comparisons against the schema in the documentation."""

import json
import math
from pathlib import Path

import jsonschema
import pytest

from lrtrack.records import State
from lrtrack.reports import jsontext
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8")
)
A, B, C = (Schedule("StepLR", {"step_size": size}) for size in (10, 20, 30))


def _valid(comparison):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [
        error.message for error in validator.iter_errors(json.loads(jsontext.render(comparison)))
    ]


@pytest.fixture
def several(run_of):
    """Runs of three schedules with a diverged, an unfinished and an inferred one, on two data."""
    runs = [
        run_of(
            schedule,
            seed,
            config={"data": seed % 2},
            loss=[2.0, 1.0 + at + seed * seed / 9],
            score=[0.0, seed / 4],
            tokens=[seed + 1.0, seed + 3.0],
        )
        for at, schedule in enumerate((A, B, Schedule("cosine", {"steps": 9}, "inferred")))
        for seed in range(4)
    ]
    runs.append(run_of(A, 5, config={"data": 1}, loss=[2.0, math.nan]))
    runs.append(run_of(B, 6, config={"data": 0}, loss=[2.0], state=State.RUNNING))
    return runs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target": 1.5, "baseline": A.label, "margin": 0.5},
        {"tune": "config.data"},
        {"task": "config.data"},
        {"task": "config.data", "target": 1.5},
        {"task": "config.data", "target": {"1": 1.2}, "baseline": A.label},
        {"task": "config.data", "target": {"0": 0.1}, "metric": "score", "mode": "max"},
        {"sequential": True, "include_unfinished": True},
        {"group_by": "name"},
        {"x": "tokens", "target": 1.5},
        {"x": "tokens", "target": {"1": 1.2}, "task": "config.data"},
        {"x": "tokens", "task": "config.data"},
    ],
)
def test_reports_follow_the_schema(several, options):
    """The JSON of every kind of comparison is valid, and has no key that the schema lacks."""
    assert (
        _valid(compare_histories(several, **{"experiment": "x", "metric": "loss", **options})) == []
    )


def test_a_single_run_follows_the_schema(run_of):
    """A comparison of one run, in which most is null, is valid too."""
    found = compare_histories([run_of(C, loss=[math.nan])], experiment=None, metric="loss")

    assert _valid(found) == []
