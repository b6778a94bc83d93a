"""Consecutive blocks of one run are delivered in order, whenever the delivery happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, StepLR

import lrtrack
from lrtrack.errors import LRTrackWarning
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.trackers.mlflow import MlflowTracker
from lrtrack.trackers.shared_runs import phase_of

ONE, TWO = "1" * 32, "2" * 32


def train(steps: int, schedule: Any, **options: Any) -> None:
    """Records a block with losses 1, 2, …"""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = schedule(optimizer, 1)
    with lrtrack.track(optimizer, scheduler, flush_timeout=0.0, **options):
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + float(step + 1)).backward()
            optimizer.step()


@pytest.mark.filterwarnings("ignore::lrtrack.errors.LRTrackWarning")
def test_phases_that_waited_for_a_server(server, command_line) -> None:
    """The joined run of a server that was away has both phases after one `lrtrack sync`."""
    client = mlflow.MlflowClient(server.backend)
    run_id = client.create_run(client.create_experiment("mine")).info.run_id
    tracker = MlflowTracker(join=run_id, uri=server.uri)
    train(3, StepLR, tracker=tracker, name="a")
    train(2, ExponentialLR, tracker=tracker, name="a")
    train(1, StepLR, tracker=tracker, name="b")
    server.start()
    done = command_line("sync")
    found = {each.id: each for each in MlflowTracker().histories(Query("mine", server.uri))}
    phases = found.pop(run_id)
    (child,) = found.values()

    assert done.returncode == 0, done.stderr
    assert phases.steps.tolist() == [0, 1, 2, 3, 4]
    assert phases.metrics["loss"].tolist() == [1, 2, 3, 1, 2]
    assert phases.run.schedule.name == "StepLR -> ExponentialLR"
    assert (child.run.name, child.metrics["loss"].tolist()) == ("b", [1])
    assert client.get_run(child.id).data.tags["mlflow.parentRunId"] == run_id


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """Two finished blocks of one run: steps 0 and 1 of the first, then one of the second."""
    found = Layout(clean_place / ".lrtrack")
    found.create()
    first = Run(ONE, "r", targets=(Target("memory", run_id="theirs", joined=True),))
    target = Target("memory", run_id="theirs", joined=True, first=2, phases=(phase_of(first, 0),))
    for run, steps in ((first, 2), (Run(TWO, "r", targets=(target,)), 1)):
        writer = JournalWriter(found.journal(run.id), run)
        for step in range(steps):
            writer.append(step, 1.0, {"loss": float(step)})
        writer.close(State.FINISHED)
        found.marker(run.id).touch()
    return found


def delivery(layout: Layout, run_id: str, tracker: MemoryTracker) -> Delivery:
    """The delivery of one of the two blocks."""
    from lrtrack.journal.reader import JournalReader

    run = JournalReader(layout.journal(run_id)).run
    return Delivery(layout, run_id, run.targets[0], tracker)


def test_the_second_waits_for_the_first_and_comes_after_it(layout: Layout) -> None:
    """The second block waits for the first, and its own step 0 becomes the run's step 2."""
    tracker = MemoryTracker()
    first, second = (delivery(layout, run_id, tracker) for run_id in (ONE, TWO))
    waited = second.kept_back()
    first.advance()
    waits = second.kept_back()
    second.advance()
    stored = tracker.stored["theirs"].steps

    assert (waited, waits) == (True, False)
    assert stored == {
        0: StepRecord(0, 1.0, {"loss": 0.0}),
        1: StepRecord(1, 1.0, {"loss": 1.0}),
        2: StepRecord(2, 1.0, {"loss": 0.0}),
    }


@pytest.mark.parametrize("gone", ["given up", "delivered", "journal"])
def test_nobody_is_waited_for_who_will_not_come(layout: Layout, gone: str) -> None:
    """A block does not wait for one that was refused for good, left the queue or lost its
    journal.
    """
    if gone == "given up":
        Cursor(error="no", given_up=True).save(layout.cursor(ONE, "memory"))
    elif gone == "delivered":
        layout.marker(ONE).unlink()
    else:
        layout.journal(ONE).unlink()

    assert not delivery(layout, TWO, MemoryTracker()).kept_back()


def test_a_run_that_is_gone_is_a_warning(store: str) -> None:
    """A deleted run gives a warning, while training continues and the journal keeps the steps."""
    tracker = MlflowTracker(join="0" * 32, uri=store)
    with pytest.warns(LRTrackWarning, match="cannot upload.*not found"):
        weight = torch.nn.Parameter(torch.ones(()))
        optimizer = torch.optim.SGD([weight], lr=0.5)
        for _ in range(2):
            with lrtrack.track(optimizer, tracker=tracker, flush_timeout=60.0):
                optimizer.step()
