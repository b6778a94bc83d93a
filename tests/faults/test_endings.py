"""However a training ends, it ends as it would have, and all it recorded is delivered."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STEPS = 300

#: How it ends → the trainer's exit status and the run's state, as MLflow has them of its own runs.
ENDINGS: dict[str, tuple[int, str]] = {
    "return": (0, "FINISHED"),
    "exception": (1, "FAILED"),
    "sys.exit": (3, "FAILED"),
    "os._exit": (3, "FAILED"),
    "MemoryError": (1, "FAILED"),
    "SIGTERM": (-signal.SIGTERM, "FAILED"),
    "SIGINT": (-signal.SIGINT, "FAILED"),
    "SIGHUP": (-signal.SIGHUP, "FAILED"),
}
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def bounded(clean_place: Path) -> Iterator[Callable[[int], int]]:
    """`bounded(pid)` lets a process have little more memory than it has; else it is killed."""
    second = (GROUPS / "cgroup.controllers").exists()
    group = (GROUPS if second else GROUPS / "memory") / f"lrtrack-{os.getpid()}"
    try:
        group.mkdir()
        limit = group / ("memory.max" if second else "memory.limit_in_bytes")
        limit.write_text(str(64 * 2**20))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"control groups of memory cannot be made here: {error}")

    yield lambda process: (group / "cgroup.procs").write_text(str(process))
    for _ in range(100):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
    raise AssertionError(f"{group} is still in use")


def over(there: Any) -> dict[str, str]:
    """Names and states of the runs that have ended."""
    states = {run.info.run_name: run.info.status for run in there.runs()}
    return {name: state for name, state in states.items() if state != "RUNNING"}


def test_each_way_to_end(
    nursery: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """The exit status is what it is without lrtrack; the run's state tells; no step is missing."""
    trainings = nursery(LRTRACK_SHIPPER_IDLE="5")
    found = {}
    for ending in ENDINGS:
        signalled = ending.startswith("SIG")
        child = trainings.train(ending, 0.0, "wait" if signalled else ending, STEPS)
        if signalled:
            within_seconds(30, lambda name=ending: trainings.steps(name) == STEPS)
            within_seconds(30, lambda name=ending: journalled(name) == STEPS)
            os.kill(child, signal.Signals[ending])
        found[ending] = trainings.wait(child)
    there = stored(store)
    within_seconds(60, lambda: len(over(there)) == len(ENDINGS))
    states = over(there)

    assert {each: (status, states[each]) for each, status in found.items()} == ENDINGS
    for ending in found:
        losses = there.losses(there.named(ending).info.run_id)
        # who leaves without a word to anybody takes with him the part of a second before
        least = 0 if ending == "os._exit" else STEPS
        assert losses == [(step, float(step + 1)) for step in range(max(least, len(losses)))], (
            ending,
            len(losses),
        )


def test_out_of_memory(
    nursery: Callable[..., Any],
    bounded: Callable[[int], int],
    store: str,
    stored: Callable[[str], Any],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """Where the kernel kills the trainer for its memory, the run is FAILED, its steps kept."""
    trainings = nursery()
    child = trainings.train("eating", 0.001, "eat")
    made = trainings.until("eating", 300)
    within_seconds(60, lambda: journalled("eating") > made)
    bounded(child)
    trainings.stop("eating")
    status = trainings.wait(child)
    there = stored(store)
    within_seconds(60, lambda: there.status() == "FAILED")

    losses = there.losses()
    assert status == -signal.SIGKILL
    assert losses == [(step, float(step + 1)) for step in range(max(made, len(losses)))]
