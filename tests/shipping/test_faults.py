"""Killed trainers and shippers and stopped servers: every recorded step arrives exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import torch

import lrtrack
from lrtrack.records import State
from lrtrack.shipping import spawn
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

TRAINER = Path(__file__).parent / "trainer.py"


@pytest.fixture
def trainer(clean_place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `trainer.py` in its own process group and returns after its first step."""
    started = []

    def begin(steps: int, pause: float, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(TRAINER), str(steps), str(pause)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def journalled(place: Path) -> list[int]:
    """Returns the number of steps in the only journal."""
    (history,) = LocalTracker().histories(Query(directory=place / ".lrtrack"))
    return history.steps.tolist()


def only_run(uri: str):
    """Returns the only run of the experiment, or None before it exists."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("faults")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return runs[0] if runs else None


def delivered(uri: str, run_id: str) -> list[tuple[int, float]]:
    """Returns the losses that MLflow has, as stored."""
    client = mlflow.MlflowClient(uri)
    return [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")]


def status(uri: str) -> str | None:
    """Returns the status of the only run."""
    run = only_run(uri)
    return run.info.status if run else None


def truth(steps: list[int]) -> list[tuple[int, float]]:
    """Returns the losses `trainer.py` records for these steps, rounded to float32."""
    return [(step, torch.tensor(1.0 / (1 + step)).item()) for step in steps]


def test_a_killed_trainer_is_delivered_and_failed(trainer, store, clean_place, within_seconds):
    """After SIGKILL, every journalled step is in MLflow and the run is FAILED."""
    process = trainer(100_000, 0.002)
    within_seconds(60, lambda: len(journalled(clean_place)) > 200)
    process.kill()
    process.wait()
    within_seconds(30, lambda: status(store) == "FAILED")

    steps = journalled(clean_place)
    assert len(steps) > 100
    assert delivered(store, only_run(store).info.run_id) == truth(steps)
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))
    assert history.state is State.FAILED


def test_a_killed_process_group_is_left_to_sync(
    trainer, store, clean_place, living_shippers, kill_shippers, command_line, within_seconds
):
    """If trainer and shipper are killed together, `lrtrack sync` delivers the rest."""
    process = trainer(100_000, 0.002)
    within_seconds(60, lambda: len(journalled(clean_place)) > 100 and living_shippers() != [])
    os.kill(process.pid, signal.SIGKILL)
    kill_shippers()
    process.wait()
    done = command_line("sync")

    steps = journalled(clean_place)
    assert (done.returncode, done.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert delivered(store, only_run(store).info.run_id) == truth(steps)
    assert status(store) == "FAILED"
    again = command_line("sync")
    assert again.stdout.startswith("Nothing to deliver")


def test_any_later_run_delivers_what_an_earlier_one_left(
    trainer, store, clean_place, living_shippers, kill_shippers, within_seconds
):
    """A shipper that starts for another run also delivers runs left in the queue."""
    process = trainer(100_000, 0.002)
    within_seconds(60, lambda: len(journalled(clean_place)) > 100 and living_shippers() != [])
    os.kill(process.pid, signal.SIGKILL)
    kill_shippers()
    process.wait()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with lrtrack.track(optimizer, experiment="other", flush_timeout=300):
        optimizer.step()
    within_seconds(30, lambda: status(store) == "FAILED")

    queue = clean_place / ".lrtrack" / "queue"
    within_seconds(10, lambda: list(queue.iterdir()) == [])


@pytest.mark.soak
def test_a_server_down_at_the_start_costs_one_warning(
    server, clean_place, monkeypatch, command_line, within_seconds
):
    """Training continues while the server is down, with one warning, and all steps arrive later."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with pytest.warns(lrtrack.LRTrackWarning, match="cannot upload at the moment") as caught:
        with lrtrack.track(optimizer, experiment="faults", flush_timeout=2):
            for step in range(50):
                optimizer.zero_grad()
                (weight * 0.0 + 1.0 / (1 + step)).backward()
                optimizer.step()
            within_seconds(60, lambda: len(caught) > 0)
            started = time.monotonic()
    took = time.monotonic() - started
    left = command_line("sync", "--timeout", "15")
    server.start()
    done = command_line("sync")

    assert len(caught) == 1
    assert took < 2 + 60  # MLflow would retry its own requests for longer.
    assert left.returncode == 1
    assert "stays in the journals" in left.stderr
    assert done.returncode == 0, done.stderr
    assert delivered(server.uri, only_run(server.uri).info.run_id) == truth(list(range(50)))


@pytest.mark.soak
def test_credentials_stay_out_of_everything(server, trainer, clean_place, within_seconds):
    """A password in the tracking URI is used but never written to a file or message."""
    server.start()
    uri = server.uri.replace("http://", "http://user:hunter2@")
    process = trainer(20, 0.0, MLFLOW_TRACKING_URI=uri)
    output = process.communicate(timeout=300)
    within_seconds(60, lambda: status(server.uri) == "FINISHED")

    files = [path for path in (clean_place / ".lrtrack").rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []
    assert "hunter2" not in "".join(output)
    run = only_run(server.uri)
    assert "hunter2" not in str(run.data.tags) + str(run.data.params)


def test_where_no_process_starts_a_thread_delivers(store, clean_place, monkeypatch):
    """Where processes cannot be started, a thread delivers the run, with one warning."""
    monkeypatch.setattr(spawn.sys, "executable", str(clean_place / "no-such-python"))
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with pytest.warns(lrtrack.LRTrackWarning, match="A thread uploads this run instead") as caught:
        with lrtrack.track(optimizer, experiment="faults", flush_timeout=300):
            for step in range(10):
                optimizer.zero_grad()
                (weight * 0.0 + 1.0 / (1 + step)).backward()
                optimizer.step()

    assert len(caught) == 1
    assert status(store) == "FINISHED"
    assert delivered(store, only_run(store).info.run_id) == truth(list(range(10)))


def test_a_refusing_tracker_is_not_asked_for_ever(store, clean_place, living_shippers,
                                                  within_seconds, command_line):  # fmt: skip
    """A deleted experiment is reported with a fix, the shipper exits, and sync delivers later."""
    client = mlflow.MlflowClient(store)
    experiment = client.create_experiment("faults")
    client.delete_experiment(experiment)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with pytest.warns(lrtrack.LRTrackWarning, match="mlflow experiments restore"):
        with lrtrack.track(optimizer, experiment="faults", flush_timeout=300):
            optimizer.step()
    within_seconds(20, lambda: living_shippers() == [])
    client.restore_experiment(experiment)
    done = command_line("sync")

    assert done.returncode == 0, done.stderr
    assert status(store) == "FINISHED"
