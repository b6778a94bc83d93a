"""The runs that are read from an MLflow store: experiments, filters, order."""

from __future__ import annotations

import os
import threading

import mlflow
import pytest
import torch

import lrtrack
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import History, State
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker


def read(progress=None, **query) -> list[History]:
    """All histories of the experiment `x`, in the store of the working directory."""
    return list(MlflowTracker().histories(Query(**{"experiment": "x", **query}), progress))


def test_other_runs_of_the_experiment_are_left_out(store, written):
    """Deleted runs, and runs that lrtrack did not write, are not read."""
    run_id = written(store)
    client = mlflow.MlflowClient(store)
    client.create_run(client.get_experiment_by_name("x").experiment_id)
    client.delete_run(written(store))

    assert [history.id for history in read()] == [run_id]


def test_newest_first_with_progress(store, written):
    """Runs come newest first, and progress is reported for each."""
    ids = {started: written(store, started=started) for started in (30.0, 10.0, 40.0, 20.0)}
    progress = []
    histories = read(progress=lambda *counts: progress.append(counts))

    assert [history.id for history in histories] == [ids[s] for s in (40.0, 30.0, 20.0, 10.0)]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_reader_that_stops_early(store, written):
    """Reading only the newest run leaves no thread behind."""
    written(store)
    newest = written(store)
    histories = MlflowTracker().histories(Query("x"))

    assert next(iter(histories)).id == newest
    histories.close()
    assert [t for t in threading.enumerate() if t.name.startswith("lrtrack")] == []


def test_raw_filters_are_mlflows_own(store, written):
    """Raw filters are MLflow's own search expressions, and all of them must hold."""
    written(store, seed=0)
    run_id = written(store, seed=1, config={"depth": 2})
    written(store, seed=1, config={"depth": 3})

    filters = ["params.seed = '1'", "params.depth = '2' and metrics.loss_final < 0.6"]
    assert [history.id for history in read(raw_filters=filters)] == [run_id]


@pytest.mark.parametrize("bad", ["seed is one", "params.seed", "params.seed = '1' or 1 = 1"])
def test_a_filter_that_mlflow_cannot_read(store, written, bad):
    """A raw filter that MLflow cannot read is a usage error."""
    written(store)

    with pytest.raises(UsageError, match="cannot read the --filter-raw"):
        read(raw_filters=[bad])


def test_a_joined_run_that_goes_on(store):
    """A joined run that is still open can be read; the block in it has ended."""
    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("x")
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
        with mlflow.start_run() as active:
            with lrtrack.track(optimizer, flush_timeout=300):
                optimizer.step()
                optimizer.step()
            (history,) = read(experiment=None)
    finally:
        mlflow.set_tracking_uri(None)
        for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)

    assert (history.id, history.state) == (active.info.run_id, State.FINISHED)
    assert history.run.experiment == "x"
    assert history.metrics["lr"].tolist() == [0.1, 0.1]


def test_the_default_experiment(store, written, monkeypatch):
    """Without an experiment, the one that new runs would go to is read."""
    ids = {name: written(store, experiment=name) for name in ("lrtrack", "a", "b")}
    number = mlflow.MlflowClient(store).get_experiment_by_name("b").experiment_id
    results = [read(experiment=None)]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    results.append(read(experiment=None))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "a")
    results.append(read(experiment=None))

    assert [history.id for (history,) in results] == [ids["lrtrack"], ids["b"], ids["a"]]
    assert [history.run.experiment for (history,) in results] == ["lrtrack", "b", "a"]


def test_an_unknown_experiment_names_the_nearest(store, written):
    """An unknown experiment is an error that suggests the nearest name."""
    written(store, experiment="digits")

    with pytest.raises(NothingFound) as caught:
        read(experiment="digts")
    assert "Unknown experiment 'digts'. Did you mean 'digits'? Available: " in str(caught.value)


def test_a_deleted_experiment_names_the_fix(store, written):
    """The error for a deleted experiment names the command that restores it."""
    written(store)
    client = mlflow.MlflowClient(store)
    number = client.get_experiment_by_name("x").experiment_id
    client.delete_experiment(number)

    with pytest.raises(NothingFound, match=f"mlflow experiments restore -x {number}"):
        read()
