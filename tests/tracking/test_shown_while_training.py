"""A rate that is set by hand is named in the tracker while the training runs, or was killed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow.entities import Run

import lrtrack
from lrtrack.journal.ending import schedule_of
from lrtrack.journal.reader import JournalReader
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

#: A training that is killed in its block, with a rate that is halved every 200 steps.
KILLED = """
import os, signal, torch, lrtrack

weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.zeros(2)
optimizer = torch.optim.SGD([weight], lr=0.1)
options = {"tracker": "mlflow", "experiment": "by hand", "seed": 4, "flush_timeout": 0.0}
with lrtrack.track(optimizer, **options) as run:
    for step in range(900):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.5 ** (step // 200)
        optimizer.step()
    run.summary()  # writes everything to the journal
    os.kill(os.getpid(), signal.SIGKILL)
"""
#: The tag that says where a schedule comes from.
SOURCE = "lrtrack.scheduler.source"
#: The most steps that the training makes until its schedule is shown.
MOST = 200_000


def warmed_cosine(step: int) -> float:
    """Return the rate of a warm-up from zero and a cosine, as many scripts compute it."""
    if step < 100:
        return 0.1 * step / 100
    return 0.05 * (1.0 + math.cos(math.pi * (step - 100) / 100_000))


def stored() -> list[Run]:
    """The runs in MLflow."""
    runs: list[Run] = mlflow.search_runs(experiment_names=["by hand"], output_format="list")
    return runs


@pytest.fixture(autouse=True)
def mlflow_store(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have MLflow use an empty database."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)


def test_the_tracker_shows_the_schedule_of_an_open_run(
    clean_place: Path, within_seconds: Callable[[float, Callable[[], bool]], None]
) -> None:
    """Name and tags are there before the block ends, and its end does not change them."""
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.zeros(2)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    options: dict[str, Any] = {"tracker": "mlflow", "experiment": "by hand", "seed": 3}
    with lrtrack.track(optimizer, **options, norms="off", capture_loss=False) as run:
        (path,) = clean_place.glob(".lrtrack/runs/*.journal")
        for step in range(MOST):
            optimizer.param_groups[0]["lr"] = warmed_cosine(step)
            optimizer.step()
            if step % 500 == 499:
                run.summary()  # writes everything to the journal
                if any(schedule_of(entry.event) for entry in JournalReader(path).entries()):
                    break
        within_seconds(60, lambda: [own.data.tags.get(SOURCE) for own in stored()] == ["inferred"])
        (during,) = stored()
    (after,) = stored()

    expected = "≈ warmup(start=0, steps=100) → cosine(steps=100000)"
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))
    assert history.run.schedule.label == expected
    for found, status in ((during, "RUNNING"), (after, "FINISHED")):
        assert found.info.status == status
        assert found.info.run_name == "warmup -> cosine-seed3"
        assert found.data.tags["lrtrack.scheduler.id"] == history.run.schedule.id


def test_a_killed_run_has_its_schedule(
    clean_place: Path, within_seconds: Callable[[float, Callable[[], bool]], None]
) -> None:
    """Whoever delivers a run that was killed names the schedule that its rates show."""
    subprocess.run([sys.executable, "-c", KILLED], capture_output=True, check=False)
    within_seconds(60, lambda: [run.info.status for run in stored()] == ["FAILED"])
    (run,) = stored()
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))

    assert run.info.run_name == history.run.name == "step-seed4"
    assert run.data.tags[SOURCE] == "inferred"
    assert run.data.tags["lrtrack.scheduler.id"] == history.run.schedule.id
    assert history.run.schedule.label == "≈ step(gamma=0.5, steps=200)"
