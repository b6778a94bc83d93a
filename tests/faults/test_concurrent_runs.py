"""Trainings that share a directory, a process or a wrong clock each keep their own steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.shipping.lock import held
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

from .training import train

CLOCK = """
import sys, time
sys.path.insert(0, {folder!r})
import trainer
real, ahead = time.time, [0.0]
time.time = lambda: real() + ahead[0]

def told(step):
    ahead[0] = -3600.0 if 99 <= step < 149 else 86400.0 if step >= 149 else 0.0
    return True

trainer.main(200, 0.005, told=told)
"""

OUTLIVED = """
import os, sys, time
sys.path.insert(0, {folder!r})
import trainer

def told(step):
    if step == 50 and os.fork() == 0:
        end = time.time() + 6  # it goes on with the very loop, without the parent, and leaves it
        return time.time() < end
    return True

trainer.main(100, 0.01, told=told)
"""

ALONE = """
import sys
sys.path.insert(0, {folder!r})
from lrtrack.shipping import spawn
spawn.launch = lambda layout, snapshot: False  # as if no process could be started
import trainer
from pathlib import Path

trainer.main(10**9, 0.005, name=sys.argv[1], told=lambda step: not Path("stop").exists())
"""


def truth(steps: int) -> list[tuple[int, float]]:
    """Returns (step, loss) of a training of `trainer.py`."""
    return [(step, float(step + 1)) for step in range(steps)]


@pytest.fixture
def script(clean_place: Path) -> Callable[..., subprocess.Popen[str]]:
    """Runs a script that can import `trainer`, in its own process."""

    def run(text: str, *arguments: str) -> subprocess.Popen[str]:
        code = text.format(folder=str(Path(__file__).parent))
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def test_two_trainers_in_one_directory(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    living_shippers: Callable[[], list[int]],
    within_seconds: Callable[..., None],
) -> None:
    """One shipper serves two trainings, and killing one does not affect the other."""
    trainings = fork_server()
    killed, other = trainings.train("killed", 0.004), trainings.train("other", 0.004)
    delivered = stored(store)
    within_seconds(90, lambda: len(delivered.runs()) == 2)
    shippers = living_shippers()
    os.kill(killed, signal.SIGKILL)
    trainings.wait(killed)
    within_seconds(90, lambda: delivered.named("killed").info.status == "FAILED")
    state = delivered.named("other").info.status
    trainings.stop("other")
    status = trainings.wait(other)
    within_seconds(90, lambda: delivered.named("other").info.status == "FINISHED")
    losses = {
        name: delivered.losses(delivered.named(name).info.run_id) for name in ("killed", "other")
    }

    assert (len(shippers), state, status) == (1, "RUNNING", 0)
    assert losses["other"] == truth(trainings.steps("other"))
    assert losses["killed"] == truth(len(losses["killed"]))


def test_a_clock_that_is_set(
    script: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    clean_place: Path,
    within_seconds: Callable[..., None],
) -> None:
    """When the clock is set, the times of steps and of the end go on from the start."""
    started = time.time()
    process = script(CLOCK)
    _, err = process.communicate(timeout=300)
    ended = time.time()
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))
    within_seconds(90, lambda: stored(store).status() == "FINISHED")
    (remote,) = stored(store).runs()

    assert process.returncode == 0, err
    assert sorted(stored(store).losses()) == truth(200)  # MLflow sorts them by time
    assert history.steps.tolist() == list(range(200))
    assert started < history.run.started < history.times[0]
    assert history.ended is not None
    assert history.times[-1] < history.ended < ended
    assert np.all(np.diff(history.times) > 0)
    assert remote.info.end_time == int(1000 * history.ended)


def test_a_forked_child_that_outlives_the_training(
    script: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    within_seconds: Callable[..., None],
) -> None:
    """A run belongs to the parent process and ends with it; steps of a forked child are not
    recorded.
    """
    process = script(OUTLIVED)
    assert process.stdout is not None
    process.wait(300)
    delivered = stored(store)
    within_seconds(90, lambda: delivered.status() == "FINISHED")
    losses = delivered.losses()
    out, _ = process.communicate(
        timeout=300
    )  # when the child, which holds the pipe open, has ended too

    assert process.returncode == 0
    assert losses == truth(100)
    assert delivered.losses() == losses
    assert out.count("done") == 2


def test_threads_that_deliver_keep_others_away(
    script: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    clean_place: Path,
    command_line: Callable[..., Any],
    within_seconds: Callable[..., None],
) -> None:
    """Two trainings that deliver from threads each deliver their own run, and `sync` stays out."""
    processes = [script(ALONE, name) for name in ("one", "two")]
    delivered = stored(store)
    within_seconds(60, lambda: len(delivered.runs()) == 2)
    locks = [path.name for path in (clean_place / ".lrtrack").rglob("*.lock") if held(path)]
    synced = command_line("sync", "--timeout", "5")
    (clean_place / "stop").touch()
    outputs = [process.communicate(timeout=300)[1] for process in processes]
    runs = delivered.runs()
    losses = {run.info.run_name: delivered.losses(run.info.run_id) for run in runs}

    assert [name.partition(".")[2] for name in locks] == ["mlflow.lock", "mlflow.lock"]
    assert (synced.returncode, synced.stderr) == (0, "Skipped, still training: 2.\n")
    assert [text.count("A thread uploads this run instead") for text in outputs] == [1, 1]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert {name: truth(len(each)) for name, each in losses.items()} == losses


@pytest.mark.soak
def test_eight_trainings_at_once(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    living_shippers: Callable[[], list[int]],
    repeats: Callable[[int, int], int],
    within_seconds: Callable[..., None],
) -> None:
    """One shipper delivers each step of eight trainings once, in order."""
    trainings = fork_server()
    names = [f"training-{number}" for number in range(8)]
    children = [trainings.train(name, 0.005) for name in names]
    for name in names:
        trainings.until(name, repeats(300, 10_000))
    within_seconds(60, lambda: len(living_shippers()) == 1)
    for name in names:
        trainings.stop(name)
    statuses = [trainings.wait(child) for child in children]
    delivered = stored(store)
    within_seconds(1800, lambda: all(run.info.status == "FINISHED" for run in delivered.runs()))
    losses = {run.info.run_name: delivered.losses(run.info.run_id) for run in delivered.runs()}

    assert statuses == [0] * 8
    assert losses == {name: truth(trainings.steps(name)) for name in names}


@pytest.mark.soak
def test_many_short_blocks(
    clean_place: Path, store: str, within_seconds: Callable[..., None]
) -> None:
    """Two hundred short blocks leave no descriptor, no thread, and in the end no queue."""

    def count() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    train(3, flush_timeout=300.0)
    before = count()
    for seed in range(200):
        train(3, seed=seed, flush_timeout=0.0)
    within_seconds(10, lambda: count()[0] <= before[0] and count()[1] <= before[1])
    queue = clean_place / ".lrtrack" / "queue"
    within_seconds(1800, lambda: list(queue.iterdir()) == [])

    assert len(list((clean_place / ".lrtrack" / "runs").glob("*.journal"))) == 201
