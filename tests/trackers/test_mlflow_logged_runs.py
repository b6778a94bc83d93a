"""Runs in MLflow that were logged without lrtrack."""

from __future__ import annotations

import math
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric

from lrtrack.errors import LRTrackWarning
from lrtrack.records import Guesses, History, State
from lrtrack.records.roles import Roles
from lrtrack.trackers.base import ALL, Query
from lrtrack.trackers.mlflow import MlflowTracker, points

LOSSES = [1.0, 1 / 3, math.nan, math.inf, -math.inf, 0.25]


def read(uri: str, **query: Any) -> list[History]:
    """All histories of the experiment `x`, whoever logged them."""
    return list(
        MlflowTracker().histories(Query(**{"experiment": "x", "uri": uri, "runs": ALL} | query))
    )


def write(uri: str, state: str | None = "FINISHED", **params: Any) -> str:
    """Log a run with MLflow's own client: six steps with the losses `LOSSES`."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("x")
    number = experiment.experiment_id if experiment else client.create_experiment("x")
    run_id = client.create_run(number, run_name="mine", tags={"team": "blue"}).info.run_id
    for name, value in params.items():
        client.log_param(run_id, name, value)
    metrics = [
        Metric(name, value, 1_000_000 + 500 * step, step)
        for step, loss in enumerate(LOSSES)
        for name, value in (("learning_rate", 0.1), ("loss", loss), ("system/cpu", 1.0))
    ]
    client.log_batch(run_id, metrics)
    if state is not None:
        client.set_terminated(run_id, state)
    return run_id


def test_a_run_that_was_logged_by_hand(store):
    """Metrics, settings, tags and state of any run are read, except metrics of the machine."""
    run_id = write(store, seed=3, depth=2)
    (history,) = read(store)

    assert (history.id, history.run.id, history.state) == (run_id, run_id, State.FINISHED)
    assert (history.run.name, history.run.seed, history.run.tags) == ("mine", 3, {"team": "blue"})
    assert history.run.config == {"depth": "2"}
    assert history.guesses == Guesses("learning_rate", "seed")
    assert history.run.schedule.label == "≈ constant"
    assert history.steps.tolist() == list(range(6))
    assert history.times.tolist() == [1000.0 + step / 2 for step in range(6)]
    assert np.array_equal(history.metrics["loss"], LOSSES, equal_nan=True)
    assert set(history.metrics) == {"learning_rate", "loss", "lr"}


def test_a_database_gives_the_points_of_the_client(store):
    """A database that is read at once gives the points that MLflow's own client gives."""
    run_id = write(store)
    client = mlflow.MlflowClient(tracking_uri=store)
    with points.opened(client) as reading:
        fast = reading(run_id, ["loss", "learning_rate"])
    slow = points.from_client(client, run_id, ["loss", "learning_rate"])

    assert fast.keys() == slow.keys()
    for name, series in fast.items():
        assert series.steps.tolist() == slow[name].steps.tolist()
        assert series.times.tolist() == slow[name].times.tolist()
        assert np.array_equal(series.values, slow[name].values, equal_nan=True)


def test_another_version_of_the_database(store, clean_place):
    """A database without the usual columns is read by MLflow's client."""
    run_id = write(store)
    client = mlflow.MlflowClient(tracking_uri=store)
    database = points._Database(store)
    with sqlite3.connect(clean_place / "mlflow.db") as connection:
        connection.execute("ALTER TABLE metrics RENAME TO kept")
        connection.execute("CREATE TABLE metrics (key TEXT)")
    with pytest.raises(ValueError, match="another version"):
        database.read(run_id, ["loss"])
    with sqlite3.connect(clean_place / "mlflow.db") as connection:
        connection.execute("DROP TABLE metrics")
        connection.execute("ALTER TABLE kept RENAME TO metrics")
    with points.opened(client) as reading:
        assert reading(run_id, ["loss"])["loss"].values[0] == 1.0


def test_reading_cannot_write(store):
    """The connection that reads a database refuses to write."""
    database = points._Database(store)
    database._open()
    raw = database._connect.raw_connection()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        raw.cursor().execute("DELETE FROM metrics")
    raw.close()
    database.close()


def test_runs_of_both_kinds(store, written):
    """All runs are read once each; without asking for all, only those that lrtrack recorded."""
    own, other = written(store), write(store)
    mlflow.MlflowClient(tracking_uri=store).create_run(
        mlflow.MlflowClient(tracking_uri=store).get_experiment_by_name("x").experiment_id,
        tags={"lrtrack.kind": "report"},
    )

    assert {history.id for history in read(store)} == {own, other}
    assert [history.id for history in read(store, runs="lrtrack")] == [own]


def test_a_run_that_is_still_going(store):
    """A run that has not ended is running, and is read again each time."""
    run_id = write(store, state=None)
    (before,) = read(store)
    mlflow.MlflowClient(tracking_uri=store).log_metric(run_id, "loss", 0.125, step=6)
    (after,) = read(store)

    assert (before.state, before.ended) == (State.RUNNING, None)
    assert (before.steps.size, after.steps.size) == (6, 7)


def test_copies_of_finished_runs(store, tmp_path: Path, monkeypatch):
    """A finished run is read from its copy until it changes or another rate is asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_id = write(store)
    read(store)
    with monkeypatch.context() as context:
        context.setattr(points, "from_client", None)
        context.setattr(points._Database, "read", None)
        (copy,) = read(store)
    mlflow.MlflowClient(tracking_uri=store).log_metric(run_id, "test", 0.5, step=5)
    (changed,) = read(store)
    (other,) = read(store, roles=Roles("test"))

    assert copy.mapped is not None
    assert np.array_equal(copy.metrics["loss"], LOSSES, equal_nan=True)
    assert changed.series("test")[1].tolist() == [0.5]
    assert (other.guesses, other.run.schedule.name) == (Guesses("test", None), "unknown")


def test_filters_on_what_the_rates_show(store):
    """Conditions on schedules are left to the caller, who knows them once rates are read."""
    from lrtrack.filters import filters_of

    write(store, seed=1)
    write(store, seed=2)
    filters = filters_of(["schedule = constant", "seed = 2"])

    assert [history.run.seed for history in read(store, filters=filters)] == [2]


def test_steps_that_make_no_sense(store):
    """Impossible steps are left out with a warning that names the run."""
    run_id = write(store, state=None)
    client = mlflow.MlflowClient(tracking_uri=store)
    client.log_metric(run_id, "loss", 1.0, step=-5)
    client.log_metric(run_id, "loss", 1.0, step=2**60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (history,) = read(store)
    (message,) = [str(each.message) for each in caught if each.category is LRTrackWarning]

    assert history.steps.tolist() == list(range(6))
    assert "2 rows of 'mine'" in message


def test_a_run_with_rates_that_are_none(store):
    """A run whose rate is negative is left out with the reason; the others are read."""
    write(store, seed=1)
    run_id = write(store, seed=2)
    client = mlflow.MlflowClient(tracking_uri=store)
    client.log_metric(run_id, "lr", -0.5, step=0)
    client.log_metric(run_id, "lr", -0.25, step=1)
    with pytest.warns(LRTrackWarning, match="'lr' is no learning rate"):
        assert [history.run.seed for history in read(store)] == [1]
