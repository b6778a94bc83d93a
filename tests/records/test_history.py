"""Rows at which a metric was recorded, and functions over many histories."""

from __future__ import annotations

import numpy as np
import pytest

from lrtrack.records import History, Run, State, map_each, recorded
from lrtrack.records import history as module


def history_of(present: list[bool] | bool, size: int = 4) -> History:
    """A run with one metric, whose values are its steps plus a half."""
    mask = np.broadcast_to(present, size) if isinstance(present, bool) else np.array(present)
    steps = np.arange(size, dtype=np.int64)
    return History(
        Run("id", "name"), State.FINISHED, "memory", steps, steps + 100.0,
        {"loss": steps + 0.5}, {"loss": mask},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("present", "expected", "is_same"),
    [
        (True, [0, 1, 2, 3], True),
        ([True] * 4, [0, 1, 2, 3], True),
        ([True, False, True, False], [0, 2], False),
        (False, [], False),
    ],
    ids=["everywhere", "each", "some", "nowhere"],
)
def test_rows_at_which_a_metric_was_recorded(present, expected, is_same):
    """The rows with a value are selected, and a column without gaps is not copied."""
    history = history_of(present)
    rows = recorded(history, "loss", history.steps)

    assert expected == rows.tolist()
    assert is_same == (rows is history.steps)


def test_a_run_without_steps_has_no_rows():
    """A metric of a run without steps has no rows, whatever its mask looks like."""
    history = history_of(True, size=0)

    assert recorded(history, "loss", history.times).tolist() == []


@pytest.mark.parametrize("long", [False, True], ids=["in one thread", "in several threads"])
def test_results_are_in_the_order_of_the_histories(monkeypatch, long):
    """A function over many histories is called once for each, in threads too, and keeps order."""
    monkeypatch.setattr(module, "_LONG", 0 if long else 10**9)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    histories = [history_of(True, size) for size in range(50)]

    assert tuple(range(50)) == map_each(lambda history: history.steps.size, histories)


@pytest.mark.parametrize("long", [False, True], ids=["in one thread", "in several threads"])
def test_an_error_of_the_function_reaches_the_caller(monkeypatch, long):
    """What a function raises for one history is raised to the caller, in threads too."""
    monkeypatch.setattr(module, "_LONG", 0 if long else 10**9)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})

    with pytest.raises(ZeroDivisionError):
        map_each(lambda history: 1 // history.steps.size, [history_of(True), history_of(True, 0)])
