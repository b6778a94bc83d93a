"""`lrtrack sync`: what is only in journals arrives, once; what cannot arrive is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest
import torch

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.schedules import Schedule
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.lock import held
from lrtrack.shipping.spawn import launch
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

TRAINER = Path(__file__).parents[1] / "shipping" / "trainer.py"
LOSSES = [1.0, 0.5, 0.25]


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """The journals of the working directory."""
    return Layout(clean_place / ".lrtrack")


@pytest.fixture
def queue(journal: Callable[..., str], clean_place: Path, layout: Layout) -> Callable[..., str]:
    """A function that leaves one finished run undelivered; its id."""

    def leave(seed: int = 0, tracker: str = "mlflow", uri: str | None = None) -> str:
        target = Target(tracker, uri, experiment="digits")
        place = {"cwd": str(clean_place), "version": "1.0", "targets": (target,)}
        run_id = journal(Schedule("constant"), LOSSES, seed, **place)
        layout.marker(run_id).touch()
        return run_id

    return leave


def stored(uri: str, experiment: str = "digits") -> dict[str, list[tuple[int, float]]]:
    """Run names and the losses that MLflow has of them, as stored."""
    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return {
        run.info.run_name: [
            (metric.step, metric.value)
            for metric in client.get_metric_history(run.info.run_id, "loss")
        ]
        for run in client.search_runs([found.experiment_id])
    }


def test_nothing_to_do(lrtrack, clean_place: Path):
    """Where nothing waits, that is said, and nothing is made."""
    result = lrtrack("sync")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Nothing to deliver in {clean_place}/.lrtrack.\n"
    assert list(clean_place.iterdir()) == []


def test_delivered_runs_are_nothing_to_do(lrtrack, digits):
    """Journals of runs that are delivered, or were never to be, are left alone."""
    result = lrtrack("sync")

    assert (result.exit_code, result.stdout[:18]) == (0, "Nothing to deliver")


def test_what_waits_is_delivered_once(command_line, queue, store: str):
    """All runs of the queue arrive; a second time there is nothing left to do."""
    queue(0)
    queue(1)
    first = command_line("sync")
    second = command_line("sync")

    assert (first.returncode, first.stdout, first.stderr) == (0, "Delivered 2 of 2 runs.\n", "")
    assert (second.returncode, second.stdout[:18]) == (0, "Nothing to deliver")
    values = [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert stored(store) == {"constant-0": values, "constant-1": values}


def test_what_a_killed_trainer_left(
    command_line, store: str, clean_place: Path, living_shippers, kill_shippers, within_seconds
):
    """A trainer killed together with its shipper: every journalled step arrives, run FAILED."""
    command = [sys.executable, "-P", str(TRAINER), "100000", "0.001"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        within_seconds(10, lambda: steps(clean_place) > 200 and living_shippers() != [])
        process.kill()
    kill_shippers()
    result = command_line("sync")

    assert (result.returncode, result.stdout) == (0, "Delivered 1 of 1 runs.\n")
    truth = [(step, torch.tensor(1 / (1 + step)).item()) for step in range(steps(clean_place))]
    assert stored(store, "faults") == {"killable": truth}
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("faults")
    assert [r.info.status for r in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def steps(place: Path) -> int:
    """Steps in the only journal."""
    (history,) = LocalTracker().histories(Query(directory=place / ".lrtrack"))
    return history.steps.size


@pytest.mark.soak
def test_a_tracker_that_is_down_loses_nothing(command_line, queue, server, layout: Layout):
    """Exit status 1 with the reason; the journal stays as it was, and arrives when it can."""
    run_id = queue(uri=server.uri)
    before = layout.journal(run_id).read_bytes()
    down = command_line("sync", "--timeout", "20")
    kept = layout.journal(run_id).read_bytes()
    server.start()
    up = command_line("sync")

    assert (down.returncode, down.stdout) == (1, "Delivered 0 of 1 runs.\n")
    assert f"constant-0 ({run_id}): MLflow at {server.uri}: cannot be reached" in down.stderr
    assert down.stderr.endswith(
        "Error: Not everything was delivered; the rest stays in the journals. "
        "Fix: run `lrtrack sync` again.\n"
    )
    assert kept == before
    assert (up.returncode, up.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert stored(server.uri) == {"constant-0": [(0, 1.0), (1, 0.5), (2, 0.25)]}


def test_one_run_that_cannot_go_does_not_hold_up_the_others(command_line, queue, store: str):
    """What can be delivered is, and the rest is named with its reason."""
    stuck = queue(0, tracker="abc")
    queue(1)
    result = command_line("sync")

    assert (result.returncode, result.stdout) == (1, "Delivered 1 of 2 runs.\n")
    assert f"  constant-0 ({stuck}): Unknown tracker 'abc'." in result.stderr
    assert list(stored(store)) == ["constant-1"]


def test_a_broken_journal_is_named(lrtrack, queue, layout: Layout):
    """A journal that cannot be read is undelivered for good, and said so each time."""
    run_id = queue()
    layout.journal(run_id).write_bytes(b"rubbish")
    result = lrtrack("sync")

    assert (result.exit_code, result.stdout) == (1, "Delivered 0 of 1 runs.\n")
    assert f"({run_id}): cannot read {layout.journal(run_id)}: it is not" in result.stderr


def test_a_run_that_goes_on_is_left_to_its_shipper(lrtrack, layout: Layout):
    """Nobody waits for the end of a training: that is the shipper's work."""
    layout.create()
    run = Run("1" * 32, "going", targets=(Target("mlflow"),))
    writer = JournalWriter(layout.journal(run.id), run)
    layout.marker(run.id).touch()
    result = lrtrack("sync")
    writer.close(State.FINISHED)

    assert (result.exit_code, result.stdout[:18]) == (0, "Nothing to deliver")
    assert result.stderr == "Skipped, still training: 1.\n"


def test_a_shipper_at_work_hands_over_what_is_over(
    lrtrack, queue, store: str, layout: Layout, living_shippers, within_seconds, monkeypatch
):
    """Sync delivers with its own environment, once, and the shipper lives on."""
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "60")
    layout.create()
    assert launch(layout, Snapshot(os.environ, {}))
    within_seconds(20, lambda: any(map(held, layout.shipper_locks())))
    (shipper,) = living_shippers()
    queue()
    result = lrtrack("sync")
    alive = living_shippers()
    psutil.Process(shipper).kill()

    assert (result.exit_code, result.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert alive == [shipper]
    assert stored(store) == {"constant-0": [(0, 1.0), (1, 0.5), (2, 0.25)]}


def test_a_timeout_that_is_none(lrtrack):
    """A negative time is wrong usage."""
    assert lrtrack("sync", "--timeout", "-1").exit_code == 2


def test_a_directory_that_cannot_be_written(lrtrack, queue, layout: Layout):
    """Where the lock cannot be had, the reason is said, and the journals stay."""
    run_id = queue()
    layout.sync_lock.mkdir()  # permissions would not stop root
    result = lrtrack("sync")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: Cannot deliver from {layout.root}: " in result.stderr
    assert layout.marker(run_id).exists()


def test_a_directory_that_is_a_file(lrtrack, clean_place: Path, monkeypatch):
    """A variable that points to something else ends in a message, not in a traceback."""
    (clean_place / "file").touch()
    monkeypatch.setenv("LRTRACK_DIR", "file")
    result = lrtrack("sync")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: Cannot read {clean_place}/file: Not a directory.\n"


def test_no_time_at_all(lrtrack, queue, store: str, layout: Layout):
    """Whatever a sync cut short had delivered, after a second one it is there once."""
    run_id = queue()
    lrtrack("sync", "--timeout", "0")
    again = lrtrack("sync")

    assert again.exit_code == 0
    assert stored(store) == {"constant-0": [(0, 1.0), (1, 0.5), (2, 0.25)]}
    assert not layout.marker(run_id).exists()
