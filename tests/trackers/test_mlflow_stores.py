"""Which MLflow store is read; reading never creates one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lrtrack.errors import NothingFound, TrackerError
from lrtrack.records import History
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker
from lrtrack.trackers.mlflow.reading import status


def read(uri: str | None = None) -> list[History]:
    """All histories of the experiment `x`."""
    return list(MlflowTracker().histories(Query("x", uri)))


def test_a_file_that_is_no_database():
    """A file that is no database is an error that says so."""
    Path("text.db").write_text("hello")

    with pytest.raises(TrackerError, match="file is not a database"):
        read("sqlite:///text.db")


def test_a_database_of_another_version_is_left_as_it_is(store, written):
    """Reading does not migrate an old database, and the error names MLflow's command."""
    written(store)
    shutil.copy("mlflow.db", "old.db")
    with closing(sqlite3.connect("old.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'old'")
    before = Path("old.db").read_bytes()

    with pytest.raises(TrackerError, match="mlflow db upgrade"):
        read("sqlite:///old.db")
    assert Path("old.db").read_bytes() == before


def test_a_database_without_its_driver():
    """The error for a missing driver shows the address without the password."""
    with pytest.raises(TrackerError) as caught:
        read("mysql+nodriver://user:hunter2@127.0.0.1:9/mlflow")

    assert "mysql+nodriver://127.0.0.1:9/mlflow" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///mlflow.db", "sqlite:///no/such.db", "./nowhere", "file:nowhere"]
)
def test_reading_creates_no_store(clean_place, uri):
    """Reading a missing store is an error, and creates no file."""
    with pytest.raises(NothingFound, match="no store there yet"):
        read(uri)
    line = status(uri)

    assert line.startswith("file:///" if "nowhere" in str(uri) else "sqlite:///")
    assert line.endswith(": no store there yet")
    assert list(clean_place.iterdir()) == []


@pytest.mark.parametrize("path", ["empty.db", "folder"])
def test_an_empty_file_or_folder_is_no_store(clean_place, path):
    """Reading an empty file or folder leaves it empty."""
    (clean_place / "empty.db").touch()
    (clean_place / "folder").mkdir()
    with pytest.raises(NothingFound, match="no store there yet"):
        read(f"sqlite:///{path}" if "." in path else path)

    assert (clean_place / "empty.db").read_bytes() == b""
    assert list((clean_place / "folder").iterdir()) == []


def test_a_relative_store_is_the_working_directorys(store, written, clean_place, monkeypatch):
    """A relative store is resolved against the current working directory."""
    run_id = written(store)
    other = clean_place / "other"
    other.mkdir()

    assert [history.id for history in read("sqlite:///mlflow.db")] == [run_id]
    monkeypatch.chdir(other)
    for uri in (None, "sqlite:///mlflow.db"):
        with pytest.raises(NothingFound, match=r"other/mlflow\.db: no store there yet"):
            read(uri)
    assert [history.id for history in read("sqlite:///../mlflow.db")] == [run_id]


@pytest.mark.parametrize("name", ["a b", "ü#", "50%41?"])
def test_a_directory_with_an_odd_name(store, written, clean_place, monkeypatch, name):
    """A store is found in a directory whose name has spaces, signs or other alphabets."""
    run_id = written(store)
    odd = clean_place / name
    odd.mkdir()
    shutil.copy(clean_place / "mlflow.db", odd / "mlflow.db")
    monkeypatch.chdir(odd)

    for uri in (None, "sqlite:///mlflow.db"):
        assert [history.id for history in read(uri)] == [run_id]
    assert [path.name for path in odd.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("name", ["a b", "ü#"])
def test_reading_creates_no_quoted_directory(store, written, clean_place, monkeypatch, name):
    """Reading does not create a directory with the quoted name, as MLflow would."""
    written(store)
    (clean_place / name).mkdir()
    shutil.copy(clean_place / "mlflow.db", clean_place / name / "mlflow.db")
    before = sorted(clean_place.iterdir())
    monkeypatch.chdir(clean_place / name)
    read()

    assert sorted(clean_place.iterdir()) == before


def test_a_folder_of_files_as_store(written, clean_place, monkeypatch):
    """MLflow's older store of plain files can be read."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run_id = written("./files", [1.0, 0.5])
    (by_path,) = read("./files")
    (by_uri,) = read((clean_place / "files").as_uri())

    assert (by_path.id, by_uri.id) == (run_id, run_id)
    assert by_path.metrics["loss"].tolist() == [1.0, 0.5]
