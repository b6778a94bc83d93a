"""A typed program on what is public, of which `mypy --strict` has nothing to say (tox -e lint)."""

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
    """A training, and going on with it."""
    with lrtrack.track(opt, sched, tracker=["local"], seed=0, tags={"who": "me"}) as run:
        assert_type(run, lrtrack.TrackedRun)
        run.log({"val/loss": 0.5}, accuracy=torch.tensor(0.5))
        run.flush()
        run.load_state_dict(run.state_dict())
        assert_type(run.step, int)
        assert_type(run.url, str | None)
        return run.id


def look() -> Path:
    """A report."""
    found = lrtrack.compare("x", metric="loss", mode="min", filters=["seed=0"])
    assert_type(found, lrtrack.Comparison)
    assert_type(found.headline, str)
    print(found.histories_frame("loss").to_csv(), found.to_markdown())
    return found.save("report.html")


def suggested() -> float | None:
    """A rate, and the schedule as a value."""

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
    """A tracker of one's own."""

    name = "nowhere"
    portable = False

    def active(self) -> bool:
        """Never."""
        return False

    def status(self) -> str:
        """Nowhere."""
        return "nowhere"

    def target(self, experiment: str | None, default: str) -> Target:
        """Nowhere."""
        return Target(self.name, experiment=experiment or default, portable=False)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """To nothing."""
        return NoSink()

    def histories(self, query: Query, progress: Progress | None = None) -> Iterable[History]:
        """Nothing."""
        return []


class NoSink:
    """Its writing half."""

    durable = True

    def open(self) -> Remote:
        """Nothing."""
        return Remote("0")

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Nothing."""

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Nothing."""

    def complete(self, run: Run) -> None:
        """Nothing."""

    def upload(self, history: Path) -> None:
        """Nothing."""

    def release(self) -> None:
        """Nothing."""


tracker: Tracker = Nowhere()


class TestNowhere(TrackerContract):
    """The contract, of a tracker that reads nothing back."""

    reads = False


try:
    lrtrack.track(opt, sched, tracker=tracker)
except lrtrack.LRTrackError as error:
    assert_type(error.exit_status, int)
