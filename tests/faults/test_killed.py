"""Trainers and shippers killed at any moment: what was recorded is there, each step once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

SEED = 0
#: A step is in its journal at most so many seconds after it was made.
PROMISED = 1.0


def truth(steps: int) -> list[tuple[int, float]]:
    """(step, loss) of a training of `trainer.py`."""
    return [(step, float(step + 1)) for step in range(steps)]


def journalled(place: Path) -> dict[str, list[int]]:
    """Steps in the journals, by the run's name."""
    histories = LocalTracker().histories(Query(directory=place / ".lrtrack"))
    return {history.run.name: history.steps.tolist() for history in histories}


def test_trainers_killed_at_random_moments(
    nursery: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    repeats: Callable[[int, int], int],
    clean_place: Path,
    within_seconds: Callable[..., None],
) -> None:
    """Each step made a second before SIGKILL is in the tracker, none twice, and the run FAILED."""
    moments, made = random.Random(SEED), {}
    trainings = nursery(LRTRACK_SHIPPER_IDLE="5")
    for number in range(repeats(6, 50)):
        name = f"killed-{number}"
        child = trainings.train(name, 0.002)
        time.sleep(moments.uniform(0.0, 2.0))
        made[name] = trainings.steps(name)
        time.sleep(PROMISED)
        # On a busy machine that second is over when the training has made its steps.
        trainings.until(name, made[name] + 300)
        os.kill(child, signal.SIGKILL)
        assert trainings.wait(child) == -signal.SIGKILL
    there = stored(store)
    within_seconds(60, lambda: [r.info.status for r in there.runs()] == ["FAILED"] * len(made))
    recorded = journalled(clean_place)

    assert sorted(recorded) == sorted(made)
    for name, steps in recorded.items():
        assert steps == list(range(len(steps))), (name, SEED)
        assert len(steps) >= made[name], (name, SEED)
        assert there.losses(there.named(name).info.run_id) == truth(len(steps)), (name, SEED)


def test_shippers_killed_at_random_moments(
    nursery: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    repeats: Callable[[int, int], int],
    living_shippers: Callable[[], list[int]],
    within_seconds: Callable[..., None],
) -> None:
    """However often it dies, while it opens a run or writes to it, each step is there once."""
    moments, killed = random.Random(SEED), set()
    trainings = nursery()
    child = trainings.train("served", 0.004)
    for _ in range(repeats(8, 50)):
        within_seconds(60, lambda: living_shippers() != [])
        time.sleep(moments.uniform(0.0, 4.0))
        for shipper in living_shippers():
            os.kill(shipper, signal.SIGKILL)
            killed.add(shipper)
    trainings.stop("served")
    status = trainings.wait(child)
    there = stored(store)
    within_seconds(60, lambda: there.status() == "FINISHED")

    assert status == 0
    assert len(killed) >= repeats(8, 50)
    assert there.losses() == truth(trainings.steps("served")), SEED
