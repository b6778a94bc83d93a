"""MLflow runs that another program created and will end, although they are not active."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR

import lrtrack
from lrtrack.errors import LRTrackWarning
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker


@pytest.fixture
def client(store: str) -> mlflow.MlflowClient:
    """A client for the store; the process's own tracking URI stays unset."""
    return mlflow.MlflowClient(store)


@pytest.fixture
def run_id(client: mlflow.MlflowClient) -> str:
    """The id of a running run in the experiment `theirs`, with a param."""
    run = client.create_run(client.create_experiment("theirs"), run_name="mine")
    client.log_param(run.info.run_id, "optimizer", "my value")
    return run.info.run_id


def train(losses: list[float], during: Callable[[], None] = lambda: None, **options: Any) -> str:
    """Track steps with these losses and a growing learning rate; return the run's id."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = ExponentialLR(optimizer, 2.0)
    with lrtrack.track(optimizer, scheduler, flush_timeout=300.0, **options) as run:
        for loss in losses:
            optimizer.zero_grad()
            (weight * 0.0 + loss).backward()
            optimizer.step()
            scheduler.step()
        during()
        return run.id


def test_a_joined_run_gets_steps_tags_and_file(client, run_id, store) -> None:
    """A joined run gets steps, tags and a file, and keeps its name, params and status."""
    reported_id = train(
        [3.0, 2.0], tracker=MlflowTracker(join=run_id, uri=store), name="not this one"
    )
    run = client.get_run(run_id)
    points = {n: client.get_metric_history(run_id, n) for n in ("lr", "loss")}
    (history,) = MlflowTracker().histories(Query("theirs", store))

    assert (reported_id, history.id) == (run_id, run_id)
    assert history.metrics["loss"].tolist() == [3.0, 2.0]
    assert (run.info.run_name, run.info.status) == ("mine", "RUNNING")
    assert [(p.step, p.value) for p in points["lr"]] == [(0, 0.5), (1, 1.0)]
    assert [(p.step, p.value) for p in points["loss"]] == [(0, 3.0), (1, 2.0)]
    assert run.data.metrics["loss_final"] == 2.0
    assert run.data.params["optimizer"] == "my value"
    assert run.data.params["lrtrack.optimizer"] == "SGD"
    assert run.data.params["lrtrack.scheduler"] == "ExponentialLR"
    assert run.data.tags["lrtrack.scheduler.name"] == "ExponentialLR"
    assert "`lrtrack compare --experiment theirs`" in run.data.tags["mlflow.note.content"]
    assert [e.name for e in client.search_experiments(filter_string="name != 'Default'")] == [
        "theirs"
    ]


def test_a_run_that_ends_during_training_is_complete(client, run_id, store) -> None:
    """A run that its owner ends during training still gets all data and stays ended."""
    train(
        [3.0, 2.0],
        lambda: client.set_terminated(run_id, "KILLED", end_time=1234),
        tracker=MlflowTracker(join=run_id, uri=store),
    )
    run = client.get_run(run_id)

    assert (run.info.status, run.info.end_time) == ("KILLED", 1234)
    assert run.data.metrics["loss_final"] == 2.0
    assert run.data.tags["lrtrack.history.rows"] == "2"


def test_prefixes_separate_the_blocks_of_a_run(client, run_id, store) -> None:
    """Blocks with different prefixes share one run, and each is read back with its own steps."""
    tracker = MlflowTracker(join=run_id, uri=store)
    for prefix, losses in (("a/", [3.0, 2.5]), ("b/", [2.0])):
        train(losses, tracker=tracker, prefix=prefix)
    first, second = MlflowTracker().histories(Query("theirs", store))

    assert (first.run.prefix, second.run.prefix) == ("a/", "b/")
    assert (first.id, second.id) == (run_id, run_id)
    assert first.run.id != second.run.id
    assert first.metrics["a/loss"].tolist() == [3.0, 2.5]
    assert second.metrics["b/loss"].tolist() == [2.0]
    assert "b/loss" not in first.metrics
    assert "a/loss" not in second.metrics
    assert client.get_run(run_id).data.metrics["b/loss_final"] == 2.0


def test_a_file_that_lacks_a_block_is_not_read(client, run_id, store, monkeypatch) -> None:
    """After a failed upload the older file is not read, and the next block's file has all steps."""
    monkeypatch.setattr("lrtrack.tracking.upload_monitor._reported", set())
    tracker = MlflowTracker(join=run_id, uri=store)
    root = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    train([3.0], tracker=tracker, prefix="a/")
    root.joinpath("lrtrack").rename(root / "kept")
    root.joinpath("lrtrack").write_text("a file, where MLflow wants a directory")
    with pytest.warns(LRTrackWarning, match="without lrtrack/history.parquet"):
        train([2.0], tracker=tracker, prefix="b/")
    root.joinpath("lrtrack").unlink()
    root.joinpath("kept").rename(root / "lrtrack")
    _, between = MlflowTracker().histories(Query("theirs", store))
    train([1.0], tracker=tracker, prefix="c/")
    after = MlflowTracker().histories(Query("theirs", store))

    assert between.metrics["b/loss"].tolist() == [2.0]
    assert [h.series("loss")[1].tolist() for h in after] == [[3.0], [2.0], [1.0]]
    assert client.get_run(run_id).data.tags["lrtrack.history.rows"] == "1"


def test_the_active_run_is_another_one(client, run_id, store) -> None:
    """The requested run is joined, and nothing is written to the active one."""
    mlflow.set_tracking_uri(store)
    try:
        with mlflow.start_run() as active:
            train([3.0], tracker=MlflowTracker(join=run_id, uri=store))
    finally:
        mlflow.set_tracking_uri(None)

    assert client.get_run(active.info.run_id).data.metrics == {}
    assert client.get_run(run_id).data.metrics["loss"] == 3.0


def test_the_address_is_kept_without_credentials() -> None:
    """The tracker stores a URI without credentials, which MLflow's variable holds."""
    tracker = MlflowTracker(join="0" * 32, uri="http://me:hunter2@127.0.0.1:9")
    target = tracker.target("ignored")

    assert (target.uri, target.run_id, target.joined) == ("http://127.0.0.1:9", "0" * 32, True)
    assert "hunter2" not in repr(vars(tracker))


def test_a_missing_run_is_a_warning(store) -> None:
    """A missing run causes a warning, and training continues."""
    with pytest.warns(LRTrackWarning, match="cannot upload.*not found"):
        train([3.0], tracker=MlflowTracker(join="0" * 32, uri=store))
