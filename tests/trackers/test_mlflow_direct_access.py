"""Which stores of MLflow are read without it, and with which credentials."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from lrtrack.errors import NothingFound
from lrtrack.trackers.mlflow.stores import location, open_store
from lrtrack.trackers.mlflow.stores.base import Unsure
from lrtrack.trackers.mlflow.stores.rest import RestStore, Settings, settings_from

HOME = {"HOME": "/nowhere"}


@pytest.fixture
def without_mlflow(monkeypatch) -> None:
    """As in a process that has not imported MLflow."""
    monkeypatch.setattr(location, "sys", type("Without", (), {"modules": {}}))


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        (None, "sqlite:///{}/mlflow.db"),
        ("sqlite:///mlflow.db", "sqlite:///{}/mlflow.db"),
        ("sqlite:///../a.db", "sqlite:///{}/../a.db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("sqlite:///a b.db", None),
        ("sqlite:///a.db?mode=rw", None),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite+pysqlite:///a.db", None),
        ("postgresql://h/db", None),
        ("mlruns", None),
        ("file:///mlruns", None),
        ("databricks", None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://h/prefix/", "https://h/prefix/"),
        ("http://h:port/", None),
        ("http://h/?token=1", None),
        ("http://", None),
        ("ftp://h/", None),
    ],
)
def test_stores_that_are_read_directly(without_mlflow, clean_place, uri, address):
    """Plain paths of SQLite databases and addresses of servers; the client reads the others."""
    expected = None if address is None else address.format(clean_place)
    assert location.direct_address(uri) == expected


def test_credentials_of_the_variable(without_mlflow, monkeypatch):
    """An address that is kept without its credentials is asked with those of the variable."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@h:5000")

    assert location.direct_address("http://h:5000") == "http://me:secret@h:5000"
    assert location.direct_address("http://other:5000") == "http://other:5000"


@pytest.mark.parametrize("name", ["DATABRICKS_RUNTIME_VERSION", "MLFLOW_WORKSPACE"])
def test_variables_that_only_the_client_follows(monkeypatch, name):
    """Where a variable changes which store is meant, the client reads it."""
    monkeypatch.setenv(name, "1")

    assert location.direct_address(None) is None


def test_runs_in_files_are_the_default(clean_place: Path):
    """Where MLflow's default is still its folder of files, the client reads it."""
    (clean_place / "mlruns" / "1").mkdir(parents=True)
    assert location.direct_address(None) is not None
    (clean_place / "mlruns" / "1" / "meta.yaml").touch()

    assert location.direct_address(None) is None


@pytest.mark.parametrize("value", ["company.store:Store", "mlflow_company:Store"])
@pytest.mark.parametrize("group", location._PLUGINS)
def test_plugins_of_mlflow(monkeypatch, group, value):
    """Where another package takes part in reading stores, the client reads them."""
    plugins = EntryPoints([EntryPoint("company", value, group)])
    monkeypatch.setattr(location, "entry_points", lambda: plugins)

    assert location.direct_address(None) is None


def test_a_missing_store(clean_place: Path):
    """A missing database is an error, and stays missing."""
    with pytest.raises(NothingFound, match="no store there yet"):
        open_store(None)

    assert list(clean_place.iterdir()) == []


def test_a_program_that_has_imported_mlflow():
    """A server is asked by the client of a program that has imported MLflow."""
    assert location.direct_address("http://127.0.0.1:5000") is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Settings({}, True, None, 20.0)),
        (
            {"USERNAME": "me", "PASSWORD": "é", "TOKEN": "t"},
            Settings({"Authorization": "Basic bWU6w6k="}, True, None, 20.0),
        ),
        ({"TOKEN": "t"}, Settings({"Authorization": "Bearer t"}, True, None, 20.0)),
        ({"USERNAME": "me", "TOKEN": "t"}, Settings({"Authorization": "Bearer t"}, True, None, 20)),
        ({"INSECURE_TLS": "TRUE"}, Settings({}, False, None, 20.0)),
        ({"INSECURE_TLS": "0"}, Settings({}, True, None, 20.0)),
        ({"SERVER_CERT_PATH": "/ca"}, Settings({}, "/ca", None, 20.0)),
        ({"CLIENT_CERT_PATH": "/me"}, Settings({}, True, "/me", 20.0)),
        ({"INSECURE_TLS": "yes"}, None),
        ({"INSECURE_TLS": "true", "SERVER_CERT_PATH": "/ca"}, None),
        ({"AWS_SIGV4": "true"}, None),
        ({"AUTH": "kubernetes"}, None),
    ],
)
def test_settings_of_the_client(variables, expected):
    """The client's variables count as for the client; unusual ones are left to it."""
    environ = HOME | {f"MLFLOW_TRACKING_{name}": value for name, value in variables.items()}

    assert settings_from(environ) == expected


@pytest.mark.parametrize(("seconds", "expected"), [("7", 7.0), ("0x7", None), ("-1", None)])
def test_the_clients_time_limit(seconds, expected):
    """The client's limit for an answer counts, if it is a number."""
    settings = settings_from(HOME | {"MLFLOW_HTTP_REQUEST_TIMEOUT": seconds})

    assert (settings and settings.timeout) == expected


def test_a_file_of_credentials(tmp_path: Path):
    """Credentials in MLflow's own file are left to the client, and so is a missing home."""
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").touch()

    assert settings_from({"HOME": str(tmp_path)}) is None
    assert settings_from({}) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_credentials_stay_with_their_server(answering, status):
    """A redirection is not followed, so that nobody else gets the credentials."""
    answering.append((status, {"Location": answering[0] + "/elsewhere"}, b""))
    store = RestStore(answering[0], Settings({"Authorization": "Bearer t"}, True, None, 5.0))
    with pytest.raises(Unsure, match=f"answers {status}"):
        store.experiments()

    assert answering[2:] == [("/api/2.0/mlflow/experiments/search", "Bearer t")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"experiment": {"name": "x"}}'),
        (404, b"not found"),
        (404, b'{"error_code": "ENDPOINT_NOT_FOUND"}'),
        (401, b'{"error_code": "UNAUTHENTICATED"}'),
        (500, b"{}"),
    ],
)
def test_answers_that_are_none(answering, status, body):
    """Anything but an answer of MLflow's is an error, upon which the client asks itself."""
    answering.append((status, {}, body))
    with pytest.raises(Exception):  # noqa: B017 (any: the fallback catches all)
        RestStore(answering[0], Settings({}, True, None, 5.0)).experiment_named("x")


def test_a_server_that_repeats_a_page(answering):
    """A server that names the same next page for ever is left to the client."""
    info = {"run_id": "a", "experiment_id": "1", "status": "FINISHED"}
    body = {"runs": [{"info": info}], "next_page_token": "again"}
    answering.append((200, {}, json.dumps(body).encode()))
    with pytest.raises(Unsure, match="repeats a page"):
        RestStore(answering[0], Settings({}, True, None, 5.0)).runs("1", ())
