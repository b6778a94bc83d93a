"""Stores that are read without MLflow give what MLflow's client gives."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric, Param, RunTag

from lrtrack.errors import UsageError
from lrtrack.filters import filters_of
from lrtrack.records import History
from lrtrack.trackers.base import ALL, LRTRACK, Query
from lrtrack.trackers.mlflow import MlflowTracker, search, stores
from lrtrack.trackers.mlflow.stores.base import Store, Unsure
from lrtrack.trackers.mlflow.stores.client import ClientStore
from lrtrack.trackers.mlflow.stores.fallback import FallbackStore
from lrtrack.trackers.mlflow.stores.rest import RestStore, settings_from
from lrtrack.trackers.mlflow.stores.sqlite import SqliteStore

from ..fixtures.imports import imported

VALUES = [1.0, math.nan, math.inf, -math.inf, 1 / 3, -0.25, 1e-300, 5e-324]
KINDS = ["sqlite", "rest", "client of the database"]


@pytest.fixture(scope="module")
def filled(served) -> str:
    """The id of an experiment with every kind of run, on a server."""
    client = mlflow.MlflowClient(tracking_uri=served.uri)
    number = client.create_experiment("x y/é'\"")
    client.delete_experiment(client.create_experiment("gone"))
    version = RunTag("lrtrack.version", "1.0")
    for state in ("FINISHED", "KILLED", "RUNNING"):
        run_id = client.create_run(number, 1000, run_name=f"own {state}").info.run_id
        points = [Metric("loss", value, 1000 + s // 2, s) for s, value in enumerate(VALUES)]
        client.log_batch(run_id, points, [Param("seed", "3")], [version])
        if state != "RUNNING":
            client.set_terminated(run_id, state, 5000)
    other = client.create_run(number, 2000, {"team": "ü\n'"}).info.run_id
    # Without steps, in any order, and several at one time; names with signs.
    points = [Metric("a/b c", value, 3000 - s // 2, 0) for s, value in enumerate(VALUES)]
    points += [Metric("acc: 1-2", value, 1_700_000_000_000, 7) for value in (2.0, 1.0, math.nan)]
    client.log_batch(other, points, [Param("depth", "2"), Param("long", "x" * 3000)])
    client.create_run(number, 3000, {"lrtrack.version": ""}, run_name="without metrics")
    client.delete_run(client.create_run(number, 4000).info.run_id)
    return number


@pytest.fixture(params=KINDS)
def store(request, served, filled) -> Iterator[Store]:
    """The server's database or the server itself, read in each way."""
    if request.param == "sqlite":
        opened: Store = SqliteStore(served.backend)
    elif request.param == "rest":
        opened = RestStore(served.uri, settings_from({"HOME": "/nowhere"}))
    else:
        opened = ClientStore(mlflow.MlflowClient(tracking_uri=served.backend), None)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client_store(served, filled) -> Iterator[Store]:
    """The server, read by MLflow's client."""
    opened = ClientStore(mlflow.MlflowClient(tracking_uri=served.uri), None)
    yield opened
    opened.close()


def arrays(series: dict[str, Any]) -> dict[str, tuple[list[int], bytes, list[float]]]:
    """Series that can be compared, NaN included."""
    return {n: (s.steps.tolist(), s.values.tobytes(), s.times.tolist()) for n, s in series.items()}


def test_every_way_lists_the_same_experiments(store, client_store, filled):
    """Experiments are found by name and by id, deleted ones too, in every way of reading."""
    assert store.experiments() == client_store.experiments()
    for name in ("x y/é'\"", "gone", "no such"):
        assert repr(store.experiment_named(name)) == repr(client_store.experiment_named(name))
    for number in (filled, "0", "999"):
        assert store.experiment(number) == client_store.experiment(number)
    assert store.experiment_named("gone").lifecycle_stage == "deleted"
    assert store.experiment_named("no such") is None


@pytest.mark.parametrize("everything", [False, True], ids=[LRTRACK, ALL])
def test_every_way_lists_the_same_runs(store, client_store, filled, everything):
    """Runs have the same names, states, times, params, tags and latest points, newest first."""
    conditions = search.expressions((), everything=everything)
    runs = store.runs(filled, conditions)

    assert list(map(repr, runs)) == list(map(repr, client_store.runs(filled, conditions)))
    assert len(runs) == (5 if everything else 3)
    assert store.experiment_of(runs[0].info.run_id) == filled


def test_every_way_gives_the_same_points(store, client_store, filled):
    """Points are equal to the last bit, in one order, also where several are at one time."""
    for run in client_store.runs(filled, ()):
        names = [*run.data.metrics]
        points = store.points(run.info.run_id, names)

        assert arrays(points) == arrays(client_store.points(run.info.run_id, names))
        assert sum(series.steps.size for series in points.values()) in (0, 8, 11)


def test_points_of_an_early_database(served, client_store, filled, clean_place):
    """A database without the index of releases since 3.12 gives the same points."""
    copy = clean_place / "early.db"
    copy.write_bytes(Path(served.backend.removeprefix("sqlite:///")).read_bytes())
    with sqlite3.connect(copy) as database:
        database.execute("DROP INDEX IF EXISTS index_metrics_run_uuid_key_step")
    store = SqliteStore(f"sqlite:///{copy}")
    for run in client_store.runs(filled, ()):
        names = [*run.data.metrics]
        points = store.points(run.info.run_id, names)

        assert arrays(points) == arrays(client_store.points(run.info.run_id, names))
    store.close()


def test_more_runs_than_one_answer_has(served, filled, monkeypatch):
    """A server's runs and points come in pages, and each of them is read once."""
    monkeypatch.setattr("lrtrack.trackers.mlflow.stores.rest._RUNS", 2)
    monkeypatch.setattr("lrtrack.trackers.mlflow.stores.rest.PAGE", 3)
    store = RestStore(served.uri, settings_from({"HOME": "/nowhere"}))
    runs = store.runs(filled, ())

    assert len({run.info.run_id for run in runs}) == len(runs) == 5
    (other,) = [run for run in runs if "team" in run.data.tags]
    assert store.points(other.info.run_id, ["a/b c"])["a/b c"].steps.size == 8


def histories(uri: str, monkeypatch: pytest.MonkeyPatch, **query: Any) -> list[list[History]]:
    """The experiment `x`, read directly, which may not need the client, and by MLflow's client."""
    asked = Query(**{"experiment": "x", "uri": uri, "cache": False} | query)
    with monkeypatch.context() as context:
        context.setattr(stores.location, "sys", type("Without", (), {"modules": {}}))
        context.setattr(stores, "_by_client", lambda *_: pytest.fail("the client was asked"))
        direct = list(MlflowTracker().histories(asked))
    with monkeypatch.context() as context:
        context.setattr(stores.location, "direct_address", lambda uri: None)
        return [direct, list(MlflowTracker().histories(asked))]


def texts(found: list[History]) -> list[str]:
    """Everything about histories, to the last digit."""
    with np.printoptions(threshold=10**6, floatmode="unique"):
        return [repr(history) for history in found]


def test_whole_histories(served, filled, written, clean_place, mlflow_database, monkeypatch):
    """Runs with a columnar file, without one, and of others are equal in both ways."""
    local = f"sqlite:///{clean_place / 'mlflow.db'}"
    (clean_place / "mlflow.db").write_bytes(mlflow_database.read_bytes())
    for uri in (local, served.uri):
        written(uri, VALUES, seed=1)
        written(uri, VALUES, upload=False, prefix="g/")
        client = mlflow.MlflowClient(tracking_uri=uri)
        number = client.get_experiment_by_name("x").experiment_id
        run = client.create_run(number, run_name="theirs").info.run_id
        client.log_batch(run, [Metric("lr", 0.1, 1000 + s, s) for s in range(4)])
    for uri in (local, served.uri):
        for query in ({}, {"runs": ALL}, {"filters": filters_of(["seed = 1"])}):
            direct, by_client = histories(uri, monkeypatch, **query)

            assert texts(direct) == texts(by_client)
            assert len(direct) == (1 if "filters" in query else 3 if query else 2)


def test_mlflows_search_language_is_left_to_mlflow(store, filled):
    """A raw filter selects the runs that MLflow finds; a database alone does not know it."""
    if isinstance(store, SqliteStore):
        with pytest.raises(Unsure):
            store.runs(filled, (), ["params.depth = '2'"])
    else:
        assert len(store.runs(filled, (), ["params.depth = '2'"])) == 1
        with pytest.raises((UsageError, Unsure)):
            store.runs(filled, (), ["params.depth <>"])


#: Commands that read a server, with what they import.
COMMANDS = {
    "doctor": ["requests"],
    "runs served": ["requests"],
    "compare served": ["requests", "scipy.special"],
    "watch --once": ["requests"],
}


@pytest.mark.parametrize("place", ["passed on by the server", "on this machine"])
def test_what_commands_import_for_a_server(served, written, going, tmp_path, place):
    """A server's runs and columnar files are read by requests, without MLflow."""
    if place == "on this machine":
        experiment, commands = "local", ["runs local"]
        folder = (tmp_path / "artifacts").as_uri()
        mlflow.MlflowClient(served.uri).create_experiment(experiment, folder)
    else:
        experiment, commands = "served", [*COMMANDS]
    for seed in (1, 2):
        written(served.uri, [1.0, 1 / seed], seed=seed, experiment=experiment)
    found = imported(commands, MLFLOW_TRACKING_URI=served.uri)

    expected = COMMANDS | {"runs local": ["requests"]}
    assert found == {command: [0, expected[command]] for command in commands}


class Broken:
    """A direct reader that fails at everything; counts the attempts."""

    uri = "sqlite:////x"

    def __init__(self) -> None:
        self.attempts = 0

    def __getattr__(self, name: str) -> Any:
        def fail(*args: Any) -> Any:
            self.attempts += 1
            raise Unsure if name == "history" else sqlite3.OperationalError("database is locked")

        return fail


@pytest.mark.parametrize("first", ["experiments", "runs", "points", "history"])
def test_the_client_takes_over_for_good(client_store, filled, first):
    """After the first failure, MLflow's client, opened once, gives all answers."""
    direct, opened = Broken(), []

    def open_client() -> Store:
        opened.append(1)
        return client_store

    store = FallbackStore(direct, open_client)
    if first == "history":
        with pytest.raises(Exception, match=r"history\.parquet"):
            store.history(client_store.runs(filled, ())[0])
    elif first == "points":
        assert store.points(client_store.runs(filled, ())[0].info.run_id, ["no such"])
    elif first == "runs":
        assert len(store.runs(filled, ())) == 5
    assert store.experiments() == client_store.experiments()
    assert store.experiment(filled).name == "x y/é'\""
    assert (direct.attempts, opened) == (1, [1])


def test_only_schemas_that_are_known(clean_place: Path, mlflow_database):
    """A database of an unknown release, or with workspaces, is not read directly."""
    copy = clean_place / "mlflow.db"
    for change in (
        "UPDATE alembic_version SET version_num = 'new'",
        "INSERT INTO alembic_version VALUES ('second')",
        "INSERT INTO experiments (name, lifecycle_stage, workspace) VALUES ('y', 'active', 'w')",
    ):
        copy.write_bytes(mlflow_database.read_bytes())
        with sqlite3.connect(copy) as database:
            database.execute(change)
        with pytest.raises(Unsure):
            SqliteStore(f"sqlite:///{copy}").experiments()


def test_a_database_is_never_written(clean_place: Path, mlflow_database):
    """Every connection to a database refuses to write, and leaves no file behind."""
    copy = clean_place / "mlflow.db"
    copy.write_bytes(mlflow_database.read_bytes())
    store = SqliteStore(f"sqlite:///{copy}")
    assert store.experiment("0").name == "Default"
    with pytest.raises(sqlite3.OperationalError, match="readonly"), store._connection() as opened:
        opened.execute("DELETE FROM experiments")
    store.close()

    assert copy.read_bytes() == mlflow_database.read_bytes()
    assert [path.name for path in clean_place.iterdir()] == ["mlflow.db"]
