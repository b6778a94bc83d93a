"""However a training ends, its exit status is its own and everything recorded is delivered."""

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

#: Ending → the trainer's exit status and the run's state, as MLflow sets it for its own runs.
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
    """`bounded(pid)` limits a process to little more memory than it has, after which it is
    killed.
    """
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


def over(delivered: Any) -> dict[str, str]:
    """Returns names and states of the runs that have ended."""
    states = {run.info.run_name: run.info.status for run in delivered.runs()}
    return {name: state for name, state in states.items() if state != "RUNNING"}


def test_each_way_to_end(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """Every way to end keeps its exit status, sets the run's state, and loses no step."""
    trainings = fork_server(LRTRACK_SHIPPER_IDLE="5")
    statuses = {}
    for ending in ENDINGS:
        signalled = ending.startswith("SIG")
        child = trainings.train(ending, 0.0, "wait" if signalled else ending, STEPS)
        if signalled:
            within_seconds(30, lambda name=ending: trainings.steps(name) == STEPS)
            within_seconds(30, lambda name=ending: journalled(name) == STEPS)
            os.kill(child, signal.Signals[ending])
        statuses[ending] = trainings.wait(child)
    delivered = stored(store)
    within_seconds(60, lambda: len(over(delivered)) == len(ENDINGS))
    states = over(delivered)

    found = {each: (status, states[each]) for each, status in statuses.items()}
    assert found == ENDINGS, trainings.said()[-4000:]
    for ending in statuses:
        losses = delivered.losses(delivered.named(ending).info.run_id)
        # a process that exits at once loses the part of a second that is not in its journal yet
        least = 0 if ending == "os._exit" else STEPS
        assert losses == [(step, float(step + 1)) for step in range(max(least, len(losses)))], (
            ending,
            len(losses),
        )


def test_out_of_memory(
    fork_server: Callable[..., Any],
    bounded: Callable[[int], int],
    store: str,
    stored: Callable[[str], Any],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """A trainer that the kernel kills for its memory leaves a FAILED run with its steps."""
    trainings = fork_server()
    child = trainings.train("eating", 0.001, "eat")
    steps = trainings.until("eating", 300)
    within_seconds(60, lambda: journalled("eating") > steps)
    bounded(child)
    trainings.stop("eating")
    status = trainings.wait(child)
    delivered = stored(store)
    within_seconds(60, lambda: delivered.status() == "FAILED")

    losses = delivered.losses()
    assert status == -signal.SIGKILL
    assert losses == [(step, float(step + 1)) for step in range(max(steps, len(losses)))]
