"""A run that is followed in its growing journal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, State
from lrtrack.watching.followed import FollowedRun
from lrtrack.watching.journals import Journals

ID = "0123456789abcdef" * 2
FOUND = {"code": "LR006", "message": "the loss is nan", "hint": "lower the rate"}


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    """Makes the open journal of a run in `tmp_path`."""
    opened = []

    def make(**fields: Any) -> JournalWriter:
        (tmp_path / "runs").mkdir(exist_ok=True)
        run = Run(ID, "one", **{"experiment": "x", "total_steps": 100, **fields})
        opened.append(JournalWriter(tmp_path / "runs" / f"{ID}.journal", run))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close(State.FINISHED)


def write(journal: JournalWriter, steps: range, seconds: float = 0.5) -> None:
    """Write steps whose loss is their number."""
    for step in steps:
        journal.append(step, 1000.0 + seconds * step, {"lr": 0.1, "loss": float(step)})
    journal.flush()


def test_what_is_new_is_added(writer: Callable[..., JournalWriter]) -> None:
    """Each look adds the new steps; speed and remaining time follow from their times."""
    journal = writer()
    followed = FollowedRun(journal.path)
    followed.look()
    first = followed.shown()
    write(journal, range(10))
    followed.look()
    write(journal, range(10, 21))
    followed.look()
    shown = followed.shown()

    assert (first.step, math.isnan(first.remaining), first.state) == (-1, True, State.RUNNING)
    assert (shown.step, shown.total_steps, shown.latest["loss"]) == (20, 100, 20.0)
    assert (shown.steps_per_second, shown.remaining) == (2.0, 39.5)
    assert list(shown.series["loss"][1]) == [float(step) for step in range(21)]


def test_diagnoses_and_the_end(writer: Callable[..., JournalWriter]) -> None:
    """Diagnoses appear when the journal has them, and the state is that of the end."""
    journal = writer()
    followed = FollowedRun(journal.path)
    write(journal, range(3))
    journal.event("diagnoses", diagnoses=[FOUND])
    followed.look()
    early = followed.shown()
    journal.close(State.FAILED, diagnoses=[FOUND])
    followed.look()

    assert (early.state, early.diagnoses) == (State.RUNNING, (FOUND,))
    assert (followed.shown().state, followed.shown().diagnoses) == (State.FAILED, (FOUND,))


def test_a_return_to_an_earlier_step(writer: Callable[..., JournalWriter]) -> None:
    """Abandoned steps disappear."""
    journal = writer()
    followed = FollowedRun(journal.path)
    write(journal, range(6))
    journal.rewind(Rewind(2, 5, 2000.0))
    journal.append(2, 2001.0, {"lr": 0.1, "loss": 7.0})
    journal.flush()
    followed.look()

    assert followed.shown().step == 2
    assert list(followed.shown().series["loss"][1]) == [0.0, 1.0, 7.0]


def test_a_killed_run_has_failed(writer: Callable[..., JournalWriter]) -> None:
    """A journal that nobody writes any more and that has no end is that of a killed run."""
    journal = writer()
    followed = FollowedRun(journal.path)
    write(journal, range(3))
    journal.release()
    followed.look()

    assert followed.shown().state is State.FAILED


def test_only_trainings_of_the_experiment_that_go_on(
    writer: Callable[..., JournalWriter], tmp_path: Path
) -> None:
    """Runs of other experiments and runs that ended before are not shown; the others stay."""
    journal = writer()
    own, others = Journals(tmp_path, ["x"]), Journals(tmp_path, ["y"])
    write(journal, range(3))
    going = [(run.name, run.step) for run in own.runs()]
    journal.close(State.FINISHED)
    ended = [(run.name, run.state) for run in own.runs()]

    assert (going, ended) == ([("one", 2)], [("one", State.FINISHED)])
    assert others.runs() == Journals(tmp_path).runs() == []
