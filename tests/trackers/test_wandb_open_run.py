"""The step numbers of a user's open W&B run stay intact, with and without `step=`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import LRTrackWarning
from lrtrack.trackers.wandb.open_run import PATIENCE, OpenRunGuard


class OpenRun:
    """The parts of a `wandb.Run` that the guard uses, with a list of logged rows."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, int | None, bool | None]] = []
        self._teardown_hooks: list[Any] = []

    def _log(self, data: Any, step: int | None = None, commit: bool | None = None) -> None:
        self.rows.append((data, step, commit))

    def log(self, data: Any, step: int | None = None) -> None:
        self._log(data, step)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def guarded(tmp_path: Path):
    """A guarded run: (run, gate, guard, clock, deliveries)."""
    run, gate, clock = OpenRun(), tmp_path / "gate", Clock()
    delivered: list[bool] = []
    guard = OpenRunGuard(run, gate, lambda: delivered.append(gate.exists()), clock)
    guard.enter()
    yield run, gate, guard, clock, delivered
    guard.leave()
    for hook in run._teardown_hooks:
        hook.call()


def test_nothing_is_uploaded_before_the_users_first_row(guarded):
    """Before the user's first row, the gate is closed and names the process."""
    _, gate, *_ = guarded

    assert gate.read_text() == str(os.getpid())


def test_a_row_without_a_step_opens_the_gate(guarded):
    """A row without a step opens the gate and is logged unchanged."""
    run, gate, guard, *_ = guarded
    run.log({"mine": 1})

    assert not gate.exists()
    assert run.rows == [({"mine": 1}, None, None)]
    assert guard.leave() is True


def test_a_row_with_a_step_keeps_it_closed_until_the_end(guarded):
    """After a row with a step, lrtrack uploads only when the run finishes."""
    run, gate, guard, clock, delivered = guarded
    run.log({"mine": 1}, step=0)
    clock.now = 2 * PATIENCE
    guard.tick()
    run.log({"mine": 2})
    may_continue = guard.leave()
    closed = gate.exists()
    run.log({"late": 3}, step=7)
    for hook in run._teardown_hooks:
        hook.call()

    assert (may_continue, closed, delivered) == (False, True, [False])
    assert run.rows == [
        ({"mine": 1}, 0, None),
        ({"mine": 2}, None, None),
        ({"late": 3}, 7, None),
        ({}, None, True),
    ]


def test_the_gate_opens_without_any_row(guarded):
    """The gate opens if the user logs nothing for a minute."""
    _, gate, guard, clock, _ = guarded
    guard.tick()
    before = gate.exists()
    clock.now = PATIENCE + 1
    guard.tick()

    assert (before, gate.exists()) == (True, False)


def test_a_late_step_is_warned_about(guarded):
    """A first `step=` after lrtrack's rows causes one warning and closes the gate."""
    run, gate, guard, clock, _ = guarded
    clock.now = PATIENCE + 1
    guard.tick()
    with pytest.warns(LRTrackWarning, match="step numbers already") as caught:
        run.log({"mine": 1}, step=3)
        run.log({"mine": 2}, step=4)

    assert len(caught) == 1
    assert gate.exists()


def test_the_run_is_unchanged_afterwards(guarded):
    """The guard leaves no attribute on the user's run."""
    run, _, guard, *_ = guarded
    guard.leave()

    assert "_log" not in vars(run)


def test_an_unknown_version_is_not_held_back(tmp_path: Path):
    """A run of another W&B version, which cannot be guarded, is not held back."""
    guard = OpenRunGuard(object(), tmp_path / "gate", lambda: None)
    guard.enter()

    assert not (tmp_path / "gate").exists()
    assert guard.leave() is True
