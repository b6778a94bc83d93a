"""`total_steps`, the number of steps that a training will make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.records import History, Run, State
from lrtrack.reports.runs import rows_of, runs_report
from lrtrack.trackers import shared_runs
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


def train(steps: int, **options: Any) -> str:
    """Makes some steps, and returns the run's id."""
    parameter = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with lrtrack.track(optimizer, tracker="local", **options) as run:
        for _ in range(steps):
            (parameter * parameter).backward()
            optimizer.step()
        return run.id


def recorded(place: Path) -> History:
    """The only run."""
    (history,) = LocalTracker().histories(Query(directory=place / ".lrtrack"))
    return history


def test_it_is_stored_and_listed(clean_place: Path) -> None:
    """The number is a field of the run, in the list beside the steps, and in the list's JSON."""
    train(2, total_steps=np.int64(4))
    history = recorded(clean_place)
    (row,) = rows_of([history], "loss")
    report = runs_report([history], None, "loss")
    at = [column.title for column in report.columns].index("steps")

    assert history.run.total_steps == history.fields()["total_steps"] == 4
    assert report.rows[0][at].text == "2/4"
    assert (row.to_dict()["steps"], row.to_dict()["total_steps"]) == (2, 4)


def test_an_unknown_number_is_left_out(clean_place: Path) -> None:
    """Without the option there is no such field, and the list has the steps alone."""
    train(2)
    history = recorded(clean_place)
    (row,) = rows_of([history], "loss")

    assert history.run.total_steps is None
    assert "total_steps" not in {*history.fields(), *history.run.to_dict(), *row.to_dict()}


@pytest.mark.parametrize(("later", "expected"), [({"total_steps": 9}, 9), ({}, 4)])
def test_a_resumed_run_updates_it(clean_place: Path, later: dict[str, int], expected: int) -> None:
    """A resume with another number replaces the number, and one without keeps it."""
    run_id = train(2, total_steps=4)
    train(1, resume=run_id, **later)

    assert recorded(clean_place).run.total_steps == expected


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_other_values_are_refused(value: Any) -> None:
    """What is no integer of at least 1 is refused by name."""
    with pytest.raises(UsageError, match="total_steps must be an integer, at least 1"):
        train(0, total_steps=value)


@pytest.mark.parametrize("value", [0, -3, True, "12", 2**70, None, [4]])
def test_other_values_in_a_journal_are_unknown(value: Any) -> None:
    """A journal without the number, or with something else there, can still be read."""
    data = {**Run("0" * 32, "a run").to_dict(), "total_steps": value}

    assert Run.from_dict(data).total_steps is None


def test_a_later_phase_counts_the_steps_before() -> None:
    """In a run that blocks share one after the other, the number counts from the run's start."""
    first, second = Run("a", "a", total_steps=10), Run("b", "b", total_steps=5)
    phases = [shared_runs.phase_of(first, 0), shared_runs.phase_of(second, 10)]

    assert shared_runs.course(second, phases).total_steps == 15
    assert shared_runs.course(replace(second, total_steps=None), phases).total_steps is None
    assert shared_runs.course(replace(second, outcome=State.FINISHED), phases[1:]).total_steps == 5
