"""Resumed trainings: one run, no step twice, no step lost."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from .cases import STEPS, add, case
from .tasks import Task, train
from .truth import Truth

SCRIPT = Path(__file__).with_name("resumed.py")


@case("resume in the same process")
def same_process(truth: Truth) -> None:
    """After a return to a checkpoint, steps that are made again replace their first record."""
    task = Task()
    optimizer = Adam(task.model.parameters(), lr=0.01)
    scheduler = CosineAnnealingLR(optimizer, 20)
    parts: list[Any] = [task.model, optimizer, scheduler]
    saved: list[Any] = []
    with truth.track(optimizer, scheduler) as run:

        def after(step: int) -> None:
            scheduler.step()
            if step == 2:
                saved.extend(copy.deepcopy(piece.state_dict()) for piece in [*parts, run])

        train(truth, optimizer, task.loss, after)
    truth.roll_back(3)
    with truth.track(optimizer, scheduler, resume=saved[-1]["id"]) as again:
        for piece, state in zip([*parts, again], saved, strict=True):
            piece.load_state_dict(state)
        train(truth, optimizer, task.loss, lambda step: scheduler.step())
    assert again.step == 2 + STEPS


@case("resume without a state")
def without_state(truth: Truth) -> None:
    """A run that is continued without a checkpoint counts on from its last step."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.2, total_steps=3 * STEPS + 1, cycle_momentum=False)
    resume = None
    for _ in range(3):
        with truth.track(optimizer, scheduler, resume=resume) as run:
            train(truth, optimizer, task.loss, lambda step: scheduler.step())
            resume = run.state_dict()["id"]


@case("resume with every second step")
def thinned(truth: Truth) -> None:
    """With `every`, the grid of recorded steps belongs to the run, wherever it is resumed."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer, every=4) as run:
        train(truth, optimizer, task.loss)
        state = run.state_dict()
    with truth.track(optimizer, every=4, resume=state["id"]) as again:
        again.load_state_dict(state)
        train(truth, optimizer, task.loss)


def new_process(truth: Truth, die_at: int) -> None:
    """One process after the other; a batch depends only on its step, so the rows must agree."""
    folder = Path.cwd() / truth.name.replace(" ", "-")
    folder.mkdir()
    place = {"LRTRACK_DIR": str(Path.cwd() / ".lrtrack"), "RUN_NAME": truth.name}
    statuses, expected_rows = [], []
    for steps, death in ((7, die_at), (12, -1)):
        process = subprocess.run(
            [sys.executable, "-P", str(SCRIPT), str(steps), str(death)],
            cwd=folder,
            env={**os.environ, **place},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.stderr == ""
        statuses.append(process.returncode)
        rows = [json.loads(line) for line in process.stdout.splitlines()]
        expected_rows.append([row.pop("step") for row in rows])
        for step, row in zip(expected_rows[-1], rows, strict=True):
            for name, value in row.items():
                assert truth.points.setdefault(name, {}).setdefault(step, value) == value
    last = die_at if die_at >= 0 else 7
    assert (statuses, expected_rows) == (
        [-9 if die_at >= 0 else 0, 0],
        [list(range(last)), list(range(6 if last > 5 else 3, 12))],
    )


add("resume in a new process", lambda truth: new_process(truth, -1))
add("resume after a process that was killed", lambda truth: new_process(truth, 5))
