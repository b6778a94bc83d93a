"""MLflow on a real PostgreSQL that requires a password."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import mlflow
import pytest
import torch
from postgres import Missing, running

import lrtrack
from lrtrack.errors import TrackerUnavailable
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker, points

STEPS = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A running cluster; tests are skipped if PostgreSQL is not installed."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    with ExitStack() as stack:
        try:
            cluster_ = stack.enter_context(running())
        except Missing as error:
            pytest.skip(str(error))
        yield cluster_


def train(experiment: str, at: Mapping[int, Callable[[], Any]] | None = None) -> str:
    """Track `STEPS` steps with losses 1/(1+step), and call `at[step]`; return MLflow's run id."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with lrtrack.track(optimizer, experiment=experiment, norms="off", flush_timeout=300) as run:
        for step in range(STEPS):
            optimizer.step()
            run.log(loss=1 / (1 + step))
            if at is not None and step in at:
                at[step]()
    return run.id


def test_points_are_read_at_once(cluster):
    """The table of points is read as MLflow's client reads it."""
    client = mlflow.MlflowClient(cluster.uri)
    run_id = client.create_run("0").info.run_id
    for step, loss in enumerate((0.5, float("inf"), 0.25)):
        client.log_metric(run_id, "loss", loss, timestamp=1000 + step, step=step)
    database = points._Database(cluster.uri)
    series = database.read(run_id, ["loss"])["loss"]
    database.close()

    assert sorted(zip(series.steps, series.values, series.times, strict=True)) == [
        (0, 0.5, 1.0),
        (1, float("inf"), 1.001),
        (2, 0.25, 1.002),
    ]


def test_every_step_is_in_the_database_and_the_password_nowhere_else(
    cluster, clean_place, monkeypatch
):
    """The database has every step, and no journal, log, tag or param has the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.uri)
    monkeypatch.setenv("LRTRACK_DIR", str(clean_place / "journals"))
    run_id = train("digits")
    (history,) = MlflowTracker().histories(Query("digits"))
    client = mlflow.MlflowClient(cluster.uri)
    stored = [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")]
    data = client.get_run(run_id).data
    files = [path for path in (clean_place / "journals").rglob("*") if path.is_file()]

    assert stored == [(step, 1 / (1 + step)) for step in range(STEPS)]
    assert history.id == run_id
    assert history.steps.tolist() == list(range(STEPS))
    assert history.metrics["loss"].tolist() == [1 / (1 + step) for step in range(STEPS)]
    assert f"{history.run.id}.mlflow.cursor" in [path.name for path in files]
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []
    assert "hunter2" not in f"{data.tags} {data.params}"


def test_a_wrong_password_is_not_repeated_to_the_reader(cluster):
    """The error for a wrong password shows the address but not the password."""
    with pytest.raises(TrackerUnavailable) as caught:
        list(MlflowTracker().histories(Query("x", cluster.uri_with("*******"))))

    message = str(caught.value)
    assert message.startswith(f"MLflow at postgresql+psycopg2://{cluster.address}: ")
    assert 'password authentication failed for user "mlflow"' in message
    assert "***" not in message


def test_a_database_that_is_down_loses_nothing(
    cluster, clean_place, command_line, monkeypatch, within_seconds
):
    """A run tracked while the database is down is uploaded once it is back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.uri)
    mlflow.MlflowClient(cluster.uri).search_experiments()
    cluster.stop()
    try:
        with pytest.warns(lrtrack.LRTrackWarning, match="cannot upload at the moment") as caught:
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
            with lrtrack.track(optimizer, experiment="late", flush_timeout=1):
                optimizer.step()
                within_seconds(60, lambda: len(caught) > 0)
        down = command_line("compare", "--experiment", "late")
    finally:
        cluster.start()
    up = command_line("sync")
    (history,) = MlflowTracker().histories(Query("late"))

    assert down.returncode == 1
    assert "Connection refused" in down.stderr
    assert "hunter2" not in down.stderr
    assert len(down.stderr.splitlines()) == 1
    assert up.returncode == 0, up.stderr
    assert history.metrics["lr"].tolist() == [0.5]


def test_a_database_that_starts_again_in_the_middle(cluster, monkeypatch, within_seconds):
    """After restarts of the database during a run, each step is stored once and in order."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.uri)
    client = mlflow.MlflowClient(cluster.uri)

    def begun() -> bool:
        experiment = client.get_experiment_by_name("restarted")
        return experiment is not None and len(client.search_runs([experiment.experiment_id])) == 1

    def restart() -> None:
        cluster.stop()
        time.sleep(1)
        cluster.start()

    run_id = train(
        "restarted", {100: lambda: within_seconds(60, begun), 150: restart, 250: restart}
    )
    reader = mlflow.MlflowClient(cluster.uri)

    assert reader.get_run(run_id).info.status == "FINISHED"
    stored = [(m.step, m.value) for m in reader.get_metric_history(run_id, "loss")]
    assert stored == [(step, 1 / (1 + step)) for step in range(STEPS)]


@pytest.mark.soak
def test_a_server_whose_database_starts_again(cluster, server, monkeypatch, within_seconds):
    """No step is lost if the database behind `mlflow server` restarts during a run."""
    server.backend = cluster.uri
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    client = mlflow.MlflowClient(server.uri)

    def begun() -> bool:
        experiment = client.get_experiment_by_name("served")
        return experiment is not None and len(client.search_runs([experiment.experiment_id])) == 1

    def restart() -> None:
        cluster.stop()
        time.sleep(2)
        cluster.start()

    run_id = train("served", {100: lambda: within_seconds(60, begun), 150: restart})

    assert client.get_run(run_id).info.status == "FINISHED"
    stored = [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")]
    assert stored == [(step, 1 / (1 + step)) for step in range(STEPS)]
