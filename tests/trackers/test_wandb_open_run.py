"""The user's own W&B steps stay his: who counts himself is told from who lets W&B count."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import LRTrackWarning
from lrtrack.trackers.wandb.open_run import PATIENCE, OpenRunWatcher


class OpenRun:
    """The seams of a `wandb.Run` that a guard touches, and what was logged through them."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, int | None, bool | None]] = []
        self._teardown_hooks: list[Any] = []

    def _log(self, data: Any, step: int | None = None, commit: bool | None = None) -> None:
        self.rows.append((data, step, commit))

    def log(self, data: Any, step: int | None = None) -> None:
        self._log(data, step)


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def guarded(tmp_path: Path):
    """A guarded run: (run, gate, guard, clock, deliveries)."""
    run, gate, clock = OpenRun(), tmp_path / "gate", Clock()
    delivered: list[bool] = []
    guard = OpenRunWatcher(run, gate, lambda: delivered.append(gate.exists()), clock)
    guard.enter()
    yield run, gate, guard, clock, delivered
    guard.leave()
    for hook in run._teardown_hooks:
        hook.call()


def test_nothing_is_delivered_before_his_first_row(guarded):
    """The gate names the process that keeps it closed."""
    _, gate, *_ = guarded

    assert gate.read_text() == str(os.getpid())


def test_a_row_without_a_step_opens_the_gate(guarded):
    """Who lets W&B count gets lrtrack's rows at once; his row goes through as it was."""
    run, gate, guard, *_ = guarded
    run.log({"mine": 1})

    assert not gate.exists()
    assert run.rows == [({"mine": 1}, None, None)]
    assert guard.leave() is True


def test_a_row_with_a_step_keeps_it_closed_until_the_end(guarded):
    """Nothing comes between his rows: delivery is after the last one, which is made whole."""
    run, gate, guard, clock, delivered = guarded
    run.log({"mine": 1}, step=0)
    clock.now = 2 * PATIENCE
    guard.tick()
    run.log({"mine": 2})
    left = guard.leave()
    closed = gate.exists()
    run.log({"late": 3}, step=7)
    for hook in run._teardown_hooks:
        hook.call()

    assert (left, closed, delivered) == (False, True, [False])
    assert run.rows == [
        ({"mine": 1}, 0, None),
        ({"mine": 2}, None, None),
        ({"late": 3}, 7, None),
        ({}, None, True),
    ]


def test_who_logs_nothing_is_not_waited_for(guarded):
    """After a minute without a row of his own the gate opens."""
    _, gate, guard, clock, _ = guarded
    guard.tick()
    before = gate.exists()
    clock.now = PATIENCE + 1
    guard.tick()

    assert (before, gate.exists()) == (True, False)


def test_a_late_step_is_warned_about(guarded):
    """Where numbers are taken already, the user hears of it once, and no more are taken."""
    run, gate, guard, clock, _ = guarded
    clock.now = PATIENCE + 1
    guard.tick()
    with pytest.warns(LRTrackWarning, match="step numbers already") as caught:
        run.log({"mine": 1}, step=3)
        run.log({"mine": 2}, step=4)

    assert len(caught) == 1
    assert gate.exists()


def test_the_run_is_as_it_was_afterwards(guarded):
    """No attribute of ours is left on the user's run."""
    run, _, guard, *_ = guarded
    guard.leave()

    assert "_log" not in vars(run)


def test_without_the_seams_nothing_is_kept_back(tmp_path: Path):
    """A W&B that looks different inside is joined all the same."""
    guard = OpenRunWatcher(object(), tmp_path / "gate", lambda: None)
    guard.enter()

    assert not (tmp_path / "gate").exists()
    assert guard.leave() is True
