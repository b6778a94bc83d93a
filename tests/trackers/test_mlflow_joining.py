"""A run that somebody else has made and will end, though it is not MLflow's active one."""

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
    """A client that has set nothing for the rest of the process."""
    return mlflow.MlflowClient(store)


@pytest.fixture
def made(client: mlflow.MlflowClient) -> str:
    """A running run in the experiment `theirs`, with a param and a description; its id."""
    run = client.create_run(client.create_experiment("theirs"), run_name="mine")
    client.log_param(run.info.run_id, "optimizer", "my own word")
    return run.info.run_id


def train(losses: list[float], during: Callable[[], None] = lambda: None, **options: Any) -> str:
    """Steps of a growing rate whose losses are given; the id that the run was said to have."""
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


def test_the_run_gets_what_a_run_of_lrtracks_has(client, made, store) -> None:
    """Steps, tags and file; name, params and status of its maker stay."""
    said = train([3.0, 2.0], tracker=MlflowTracker(join=made, uri=store), name="not this one")
    found = client.get_run(made)
    points = {n: client.get_metric_history(made, n) for n in ("lr", "loss")}
    (history,) = MlflowTracker().histories(Query("theirs", store))

    assert (said, history.id) == (made, made)
    assert history.metrics["loss"].tolist() == [3.0, 2.0]
    assert (found.info.run_name, found.info.status) == ("mine", "RUNNING")
    assert [(p.step, p.value) for p in points["lr"]] == [(0, 0.5), (1, 1.0)]
    assert [(p.step, p.value) for p in points["loss"]] == [(0, 3.0), (1, 2.0)]
    assert found.data.metrics["loss_final"] == 2.0
    assert found.data.params["optimizer"] == "my own word"
    assert found.data.params["lrtrack.optimizer"] == "SGD"
    assert found.data.params["lrtrack.scheduler"] == "ExponentialLR"
    assert found.data.tags["lrtrack.scheduler.name"] == "ExponentialLR"
    assert "`lrtrack compare --experiment theirs`" in found.data.tags["mlflow.note.content"]
    assert [e.name for e in client.search_experiments(filter_string="name != 'Default'")] == [
        "theirs"
    ]


def test_a_run_that_is_ended_meanwhile_is_delivered_all_the_same(client, made, store) -> None:
    """And stays ended, at the time and in the state that its maker said."""
    train(
        [3.0, 2.0],
        lambda: client.set_terminated(made, "KILLED", end_time=1234),
        tracker=MlflowTracker(join=made, uri=store),
    )
    found = client.get_run(made)

    assert (found.info.status, found.info.end_time) == ("KILLED", 1234)
    assert found.data.metrics["loss_final"] == 2.0
    assert found.data.tags["lrtrack.history.rows"] == "2"


def test_blocks_of_one_run_are_kept_apart_by_their_prefixes(client, made, store) -> None:
    """As two optimizers are; the file has both."""
    tracker = MlflowTracker(join=made, uri=store)
    for prefix, loss in (("a/", 3.0), ("b/", 2.0)):
        train([loss], tracker=tracker, prefix=prefix)
    (history,) = MlflowTracker().histories(Query("theirs", store))

    assert history.metrics["a/loss"].tolist() == [3.0]
    assert history.metrics["b/loss"].tolist() == [2.0]
    assert client.get_run(made).data.metrics["b/loss_final"] == 2.0


def test_a_file_that_lacks_a_block_is_not_read(client, made, store, monkeypatch) -> None:
    """After a refused file the older one is not believed, and the next block's has all steps."""
    monkeypatch.setattr("lrtrack.tracking.upload_monitor._reported", set())
    tracker = MlflowTracker(join=made, uri=store)
    root = Path(client.get_run(made).info.artifact_uri.removeprefix("file://"))
    train([3.0], tracker=tracker, prefix="a/")
    root.joinpath("lrtrack").rename(root / "kept")
    root.joinpath("lrtrack").write_text("a file, where MLflow wants a directory")
    with pytest.warns(LRTrackWarning, match="without lrtrack/history.parquet"):
        train([2.0], tracker=tracker, prefix="b/")
    root.joinpath("lrtrack").unlink()
    root.joinpath("kept").rename(root / "lrtrack")
    (between,) = MlflowTracker().histories(Query("theirs", store))
    train([1.0], tracker=tracker, prefix="c/")
    (after,) = MlflowTracker().histories(Query("theirs", store))

    assert between.metrics["b/loss"].tolist() == [2.0]
    assert [after.metrics[f"{name}/loss"].tolist() for name in "abc"] == [[3.0], [2.0], [1.0]]
    assert client.get_run(made).data.tags["lrtrack.history.rows"] == "1"


def test_the_active_run_is_another_one(client, made, store) -> None:
    """What was asked for is joined; nothing is written to the run that happens to be open."""
    mlflow.set_tracking_uri(store)
    try:
        with mlflow.start_run() as active:
            train([3.0], tracker=MlflowTracker(join=made, uri=store))
    finally:
        mlflow.set_tracking_uri(None)

    assert client.get_run(active.info.run_id).data.metrics == {}
    assert client.get_run(made).data.metrics["loss"] == 3.0


def test_the_address_is_kept_without_credentials() -> None:
    """Those are found again in the variable that MLflow keeps them in."""
    tracker = MlflowTracker(join="0" * 32, uri="http://me:hunter2@127.0.0.1:9")
    target = tracker.target("ignored")

    assert (target.uri, target.run_id, target.joined) == ("http://127.0.0.1:9", "0" * 32, True)
    assert "hunter2" not in repr(vars(tracker))


def test_a_run_that_is_not_there_is_a_warning(store) -> None:
    """Training goes on; the journal has the steps."""
    with pytest.warns(LRTrackWarning, match="cannot upload.*not found"):
        train([3.0], tracker=MlflowTracker(join="0" * 32, uri=store))
