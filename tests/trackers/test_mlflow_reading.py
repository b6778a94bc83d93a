"""Runs read back from MLflow, from their files and from the metric API."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import lrtrack
from lrtrack.errors import (
    LRTrackWarning,
    NothingFound,
    TrackerUnavailable,
    UsageError,
)
from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker

#: As in `written`, without what SQLite itself changes: it has no negative zero.
LOSSES = [1.0, 1 / 3, math.nan, math.inf, -math.inf, 1e-300, 0.25, 5e-324]


def read(uri: str | None = None, progress=None, **query) -> list[History]:
    """All histories of the experiment `x`."""
    query = {"experiment": "x", "uri": uri, **query}
    return list(MlflowTracker().histories(Query(**query), progress))


def same(actual: np.ndarray, expected) -> bool:
    """Whether arrays are equal to the last bit, NaN included."""
    return actual.tobytes() == np.array(expected, dtype=actual.dtype).tobytes()


def artifact(run_id: str) -> Path:
    """The columnar file below the working directory or a server's directory."""
    (path,) = Path.cwd().parent.rglob(f"{run_id}/artifacts/lrtrack/history.parquet")
    return path


def harmed(path: Path, harm: str) -> None:
    """Delete, truncate, shorten or replace a columnar file."""
    if harm == "missing":
        path.unlink()
    elif harm == "torn":
        path.write_bytes(path.read_bytes()[:50])
    elif harm == "foreign":
        pq.write_table(pq.read_table(path).rename_columns(["a", "b", "c", "d"]), path)
    else:
        pq.write_table(pq.read_table(path).slice(0, 3), path)


def test_a_trained_run_comes_back(store):
    """A tracked run is read back with its steps, learning rates, losses and description."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1 / 3)
    rates = []
    with lrtrack.track(
        optimizer, scheduler, experiment="x", seed=3, norms="off", group="g", flush_timeout=300
    ) as run:
        for loss in LOSSES:
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            run.log(loss=loss)
            scheduler.step()
    (history,) = read()

    assert (history.id, history.state, history.tracker) == (run.id, State.FINISHED, "mlflow")
    assert history.steps.tolist() == list(range(8))
    assert same(history.metrics["loss"], LOSSES)
    assert same(history.metrics["lr"], rates)
    assert (history.run.seed, history.run.group) == (3, "g")
    assert history.run.schedule.to_dict() == {"name": "ExponentialLR", "gamma": 1 / 3}


def test_the_identity_of_a_run(store, written):
    """Everything that MLflow stores about a run is read back unchanged."""
    run = Run(
        id="ab" * 16,
        name="mine",
        schedule=Schedule("SequentialLR", {"schedulers": [{"name": "LinearLR"}], "at": [0.5]}),
        optimizer={"name": "SGD", "lr": 0.1, "nesterov": True, "betas": [0.9, 0.99]},
        experiment="x",
        group="g",
        seed=7,
        config={"depth": 2, "data.name": "digits", "rate": 1e-3, "flag": True, "none": None},
        tags={"team": "blue"},
        prefix="g/",
        device_type="cuda",
        device_name="NVIDIA H100",
        world_size=8,
        version="1.2",
        torch_version="2.9.1+cu128",
        started=1234.5,
    )
    written(store, **{name: getattr(run, name) for name in run.__dataclass_fields__})
    (history,) = read()

    assert history.run == run
    assert history.ended == 2000.5
    assert history.url is None
    assert history.served is not None
    assert history.served.command.startswith("mlflow ui --backend-store-uri ")
    assert history.served.url.startswith("http://127.0.0.1:5000/#/experiments/")


def test_the_columnar_file_is_exact(store, written):
    """The columnar file gives values, gaps and times back bit for bit."""
    written(store, [None, *LOSSES, -0.0])
    (history,) = read()

    assert history.steps.tolist() == list(range(10))
    assert same(history.times, [1000.0 + step / 3 for step in range(10)])
    assert same(history.metrics["loss"], [math.nan, *LOSSES, -0.0])
    assert history.present["loss"].tolist() == [False] + [True] * 9
    assert history.present["lr"].all()


@pytest.mark.parametrize("harm", ["missing", "torn", "short", "foreign"])
def test_the_metric_api_gives_the_same_steps(store, written, harm):
    """If the file is missing, damaged or incomplete, the metric API gives the same steps."""
    run_id = written(store, [None, *LOSSES])
    (before,) = read()
    harmed(artifact(run_id), harm)
    with pytest.warns(LRTrackWarning, match="reading its metrics one by one") as caught:
        (after,) = read(cache=False)

    assert len(caught) == 1
    assert run_id in str(caught[0].message)
    assert after.steps.tolist() == before.steps.tolist()
    assert sorted(after.metrics) == ["loss", "lr"]
    for name in after.metrics:
        assert same(after.metrics[name], before.metrics[name]), name
        assert same(after.present[name], before.present[name]), name
    assert np.abs(after.times - before.times).max() < 0.0011  # MLflow keeps milliseconds
    assert replace(after, times=0, steps=0, metrics=0, present=0) == replace(
        before, times=0, steps=0, metrics=0, present=0
    )


def test_a_finished_run_is_fetched_once(store, written):
    """A finished run is read from the cache, unless the cache is off."""
    run_id = written(store, LOSSES)
    (first,) = read()
    harmed(artifact(run_id), "missing")
    (second,) = read()
    with pytest.warns(LRTrackWarning, match="reading its metrics one by one"):
        read(cache=False)

    assert second == replace(first, steps=second.steps, times=second.times,
                             metrics=second.metrics, present=second.present)  # fmt: skip
    assert same(second.steps, first.steps)
    assert same(second.times, first.times)
    for name in ("loss", "lr"):
        assert same(second.metrics[name], first.metrics[name]), name
        assert same(second.present[name], first.present[name]), name


def test_many_lost_files_are_one_warning(store, written):
    """Many missing files cause one warning."""
    for _ in range(3):
        artifact(written(store)).unlink()
    with pytest.warns(LRTrackWarning, match=r"\(and 2 more\)") as caught:
        histories = read()

    assert len(caught) == 1
    assert [history.steps.size for history in histories] == [8, 8, 8]


def test_a_running_run(store, written):
    """A running run is read up to its latest step, without a warning."""
    run_id = written(store, [3.0, 2.0], state=None, upload=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (history,) = read()

    assert (history.id, history.state, history.ended) == (run_id, State.RUNNING, None)
    assert history.metrics["loss"].tolist() == [3.0, 2.0]


@pytest.mark.parametrize("state", [State.FINISHED, State.FAILED])
def test_states(store, written, state):
    """A run's final state is read back."""
    written(store, state=state)

    assert [history.state for history in read()] == [state]


def test_a_killed_run_counts_as_failed(store, written):
    """A run in MLflow's state KILLED is read as failed."""
    mlflow.MlflowClient(store).set_terminated(written(store), "KILLED")

    assert [history.state for history in read()] == [State.FAILED]


def test_a_run_without_a_step(store, written):
    """A run that ended before its first step is read as an empty history."""
    written(store, [], upload=False)
    (history,) = read()

    assert (history.steps.size, dict(history.metrics)) == (0, {})


def test_metrics_that_only_the_user_logged(store, written):
    """A metric that only the user logged is fetched if the query names it."""
    run_id = written(store, LOSSES)
    client = mlflow.MlflowClient(store)
    for step, value in ((1, 0.5), (4, 0.25), (20, math.inf)):
        client.log_metric(run_id, "test_accuracy", value, step=step)
    (history,) = read(metric="test_accuracy")
    steps, values = history.series("test_accuracy")

    assert (steps.tolist(), values.tolist()) == ([1, 4, 20], [0.5, 0.25, math.inf])
    assert history.steps.tolist() == [*range(8), 20]
    assert same(history.metrics["loss"][:8], LOSSES)
    assert "test_accuracy" not in read(metric="loss")[0].metrics
    assert "test_accuracy" in read(metric="loss", axis="test_accuracy")[0].metrics


def test_params_that_cannot_be_parsed(store, written):
    """A param that cannot be parsed is read as text."""
    config = {"deep": "[" * 5000, "long": "1" * 5000, "half": '{"a": '}
    written(store, config=config)
    (history,) = read()

    assert history.run.config == config


def test_reading_over_http(server, written, clean_place, capfd):
    """A tracking server gives the same histories as an embedded store, and a page for each run."""
    server.start()
    run_id = written(server.uri, [None, *LOSSES])
    (before,) = read(server.uri)
    quiet = capfd.readouterr().err
    harmed(artifact(run_id), "missing")
    with pytest.warns(LRTrackWarning, match="reading its metrics one by one") as caught:
        (after,) = read(server.uri, cache=False)

    assert len(caught) == 1
    for history in (before, after):
        assert history.steps.tolist() == list(range(9))
        assert same(history.metrics["loss"], [math.nan, *LOSSES])
        assert history.present["loss"].tolist() == [False] + [True] * 8
        assert history.url.startswith(f"{server.uri}/#/experiments/")
        assert history.url.endswith(f"/runs/{run_id}?workflowType=machine_learning")
    assert same(before.times, [1000.0 + step / 3 for step in range(9)])
    assert "Downloading" not in quiet
    assert list(clean_place.iterdir()) == []


def test_mistakes_over_http(server, written):
    """Over HTTP, wrong filters and experiments and a stopped server are the usual errors."""
    server.start()
    written(server.uri, upload=False)
    with pytest.raises(UsageError, match="cannot read the --filter-raw"):
        read(server.uri, raw_filters=["seed is one"])
    with pytest.raises(NothingFound, match="Unknown experiment 'y'"):
        read(server.uri, experiment="y")
    server.stop()
    with pytest.raises(TrackerUnavailable, match="cannot be reached"):
        read(server.uri)
