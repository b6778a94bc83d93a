"""Trainers and shippers killed at any moment: recorded steps arrive, each once."""

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
#: A step is in its journal at most this many seconds after it was made.
PROMISED = 1.0


def truth(steps: int) -> list[tuple[int, float]]:
    """Returns (step, loss) of a training of `trainer.py`."""
    return [(step, float(step + 1)) for step in range(steps)]


def journalled(place: Path) -> dict[str, list[int]]:
    """Returns the number of steps in the journals, by run name."""
    histories = LocalTracker().histories(Query(directory=place / ".lrtrack"))
    return {history.run.name: history.steps.tolist() for history in histories}


def test_trainers_killed_at_random_moments(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    repeats: Callable[[int, int], int],
    clean_place: Path,
    within_seconds: Callable[..., None],
) -> None:
    """Each step made a second before SIGKILL reaches the tracker once, and the run is FAILED."""
    moments, steps_made = random.Random(SEED), {}
    trainings = fork_server(LRTRACK_SHIPPER_IDLE="5")
    for number in range(repeats(6, 50)):
        name = f"killed-{number}"
        child = trainings.train(name, 0.002)
        time.sleep(moments.uniform(0.0, 2.0))
        steps_made[name] = trainings.steps(name)
        time.sleep(PROMISED)
        # On a busy machine the second counts from when the steps were made.
        trainings.until(name, steps_made[name] + 300)
        os.kill(child, signal.SIGKILL)
        assert trainings.wait(child) == -signal.SIGKILL
    delivered = stored(store)
    within_seconds(
        60, lambda: [r.info.status for r in delivered.runs()] == ["FAILED"] * len(steps_made)
    )
    recorded = journalled(clean_place)

    assert sorted(recorded) == sorted(steps_made)
    for name, steps in recorded.items():
        assert steps == list(range(len(steps))), (name, SEED)
        assert len(steps) >= steps_made[name], (name, SEED)
        assert delivered.losses(delivered.named(name).info.run_id) == truth(len(steps)), (
            name,
            SEED,
        )


def test_shippers_killed_at_random_moments(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    repeats: Callable[[int, int], int],
    living_shippers: Callable[[], list[int]],
    within_seconds: Callable[..., None],
) -> None:
    """A shipper killed at any moment, while it creates a run or writes to it, repeats no step."""
    moments, killed = random.Random(SEED), set()
    trainings = fork_server()
    child = trainings.train("served", 0.004)
    for _ in range(repeats(8, 50)):
        within_seconds(60, lambda: living_shippers() != [])
        time.sleep(moments.uniform(0.0, 4.0))
        for shipper in living_shippers():
            os.kill(shipper, signal.SIGKILL)
            killed.add(shipper)
    trainings.stop("served")
    status = trainings.wait(child)
    delivered = stored(store)
    within_seconds(60, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert len(killed) >= repeats(8, 50)
    assert delivered.losses() == truth(trainings.steps("served")), SEED
