"""A program that uses the public API with types; `mypy --strict` must accept it (tox -e lint)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import assert_type

import numpy as np
import torch
from numpy.typing import NDArray

import lrtrack
from lrtrack.records import History, Run, State, StepRecord, Target
from lrtrack.testing import TrackerContract
from lrtrack.trackers.base import Progress, Query, Remote, Sink, Tracker

model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = lrtrack.scheduler(opt, "warmup(steps=10) -> cosine", total_steps=100)
assert_type(sched, torch.optim.lr_scheduler.LRScheduler)


def train() -> str:
    """Train, and continue the training."""
    with lrtrack.track(opt, sched, tracker=["local"], seed=0, tags={"who": "me"}) as run:
        assert_type(run, lrtrack.TrackedRun)
        run.log({"val/loss": 0.5}, accuracy=torch.tensor(0.5))
        run.flush()
        run.load_state_dict(run.state_dict())
        assert_type(run.step, int)
        assert_type(run.url, str | None)
        return run.id


def act_on_diagnoses() -> None:
    """End a training that a diagnosis stops, and react to the others."""

    def show(diagnosis: dict[str, str]) -> None:
        print(diagnosis["code"], diagnosis["message"], diagnosis["hint"])

    try:
        with lrtrack.track(opt, stop_on={"LR006"}, on_diagnosis=show) as run:
            assert_type(run.diagnoses, tuple[dict[str, str], ...])
    except lrtrack.TrainingStopped as stop:
        assert_type(stop.step, int)
        assert_type(stop.diagnosis, dict[str, str])
    lrtrack.start(opt, stop_on="LR006").end()


def train_without_a_block() -> None:
    """Record steps that lrtrack cannot see, without a block and without an optimizer."""
    assert_type(
        lrtrack.start(opt, sched, tracker="local", every=2, total_steps=9), lrtrack.TrackedRun
    ).end()
    assert_type(lrtrack.start(opt, updates=100, norms="group"), lrtrack.TrackedRun).end()
    lrtrack.start(opt, sched, tracker="local", loss_over="mean").end()
    run = lrtrack.start(None, tracker="local")
    run.record(lr=0.1, loss=torch.tensor(0.5), grad_norm=1.0, tokens=512)
    run.record()
    run.end("FAILED")


def look() -> Path:
    """Compare runs and use the report."""
    assert_type(lrtrack.histories("x", runs="all", lr_metric="eta"), list[History])
    report = lrtrack.compare("x", metric="loss", mode="min", filters=["seed=0"])
    assert_type(report, lrtrack.Comparison)
    assert_type(report.headline, str)
    made = History.from_series("cosine(steps=2)", {"loss": [1.0, 0.5]}, seed=0)
    assert_type(made, History)
    assert_type(lrtrack.compare(histories=[made], margin=0.1), lrtrack.Comparison)
    print(report.histories_frame("loss").to_csv(), report.to_markdown())
    return report.save("report.html")


def suggested() -> float | None:
    """Return a suggested rate, and use the schedule as a value."""

    def step() -> torch.Tensor:
        loss: torch.Tensor = model(torch.randn(8, 4)).square().mean()
        return loss

    schedule = lrtrack.describe(sched)
    assert_type(schedule, lrtrack.Schedule)
    assert_type(lrtrack.simulate("cosine(steps=10)", 10), NDArray[np.float64])
    result = lrtrack.find_lr(model, opt, step, record=False)
    assert_type(result, lrtrack.LRFinderResult)
    return result.suggestion


class Nowhere:
    """A user's own tracker that stores nothing."""

    name = "nowhere"
    portable = False

    def active(self) -> bool:
        """Return no active run."""
        return False

    def status(self) -> str:
        """Return no status."""
        return "nowhere"

    def target(self, experiment: str | None, default: str) -> Target:
        """Return a target."""
        return Target(self.name, experiment=experiment or default, portable=False)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """Return a sink that stores nothing."""
        return NoSink()

    def histories(self, query: Query, progress: Progress | None = None) -> Iterable[History]:
        """Return no histories."""
        return []


class NoSink:
    """A sink that stores nothing."""

    durable = True

    def open(self) -> Remote:
        """Do nothing."""
        return Remote("0")

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Do nothing."""

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Do nothing."""

    def complete(self, run: Run) -> None:
        """Do nothing."""

    def upload(self, history: Path) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


tracker: Tracker = Nowhere()


class TestNowhere(TrackerContract):
    """The contract suite for a tracker that cannot read."""

    reads = False


try:
    lrtrack.track(opt, sched, tracker=tracker)
except lrtrack.LRTrackError as error:
    assert_type(error.exit_status, int)
