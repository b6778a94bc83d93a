"""Which MLflow store is read, and that reading makes none."""

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


def test_a_database_that_is_none():
    """A file that is something else is said to be so, at once."""
    Path("text.db").write_text("hello")

    with pytest.raises(TrackerError, match="file is not a database"):
        read("sqlite:///text.db")


def test_a_database_of_another_version_is_left_as_it_is(store, written):
    """Reading migrates nothing; MLflow's own words say what to do."""
    written(store)
    shutil.copy("mlflow.db", "old.db")
    with closing(sqlite3.connect("old.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'old'")
    before = Path("old.db").read_bytes()

    with pytest.raises(TrackerError, match="mlflow db upgrade"):
        read("sqlite:///old.db")
    assert Path("old.db").read_bytes() == before


def test_a_database_without_its_driver():
    """What cannot be opened is named, without the password."""
    with pytest.raises(TrackerError) as caught:
        read("mysql+nodriver://user:hunter2@127.0.0.1:9/mlflow")

    assert "mysql+nodriver://127.0.0.1:9/mlflow" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///mlflow.db", "sqlite:///no/such.db", "./nowhere", "file:nowhere"]
)
def test_reading_makes_no_store(clean_place, uri):
    """Where there is none, that is said, and the directory stays as it was."""
    with pytest.raises(NothingFound, match="no store there yet"):
        read(uri)
    said = status(uri)

    assert said.startswith("file:///" if "nowhere" in str(uri) else "sqlite:///")
    assert said.endswith(": no store there yet")
    assert list(clean_place.iterdir()) == []


@pytest.mark.parametrize("there", ["empty.db", "folder"])
def test_an_empty_place_is_no_store_yet(clean_place, there):
    """An empty file or folder is not filled by reading it."""
    (clean_place / "empty.db").touch()
    (clean_place / "folder").mkdir()
    with pytest.raises(NothingFound, match="no store there yet"):
        read(f"sqlite:///{there}" if "." in there else there)

    assert (clean_place / "empty.db").read_bytes() == b""
    assert list((clean_place / "folder").iterdir()) == []


def test_a_relative_store_is_the_working_directorys(store, written, clean_place, monkeypatch):
    """A notebook that changes its directory reads the store of the new one."""
    kept = written(store)
    other = clean_place / "other"
    other.mkdir()

    assert [history.id for history in read("sqlite:///mlflow.db")] == [kept]
    monkeypatch.chdir(other)
    for uri in (None, "sqlite:///mlflow.db"):
        with pytest.raises(NothingFound, match=r"other/mlflow\.db: no store there yet"):
            read(uri)
    assert [history.id for history in read("sqlite:///../mlflow.db")] == [kept]


@pytest.mark.parametrize("name", ["a b", "ü#", "50%41?"])
def test_a_directory_with_an_odd_name(store, written, clean_place, monkeypatch, name):
    """Blanks, signs and other alphabets in the path lead to the store that is there."""
    kept = written(store)
    odd = clean_place / name
    odd.mkdir()
    shutil.copy(clean_place / "mlflow.db", odd / "mlflow.db")
    monkeypatch.chdir(odd)

    for uri in (None, "sqlite:///mlflow.db"):
        assert [history.id for history in read(uri)] == [kept]
    assert [path.name for path in odd.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("name", ["a b", "ü#"])
def test_reading_makes_no_directory_beside(store, written, clean_place, monkeypatch, name):
    """MLflow makes a directory of the path as it is written in a URI: `a%20b` beside `a b`."""
    written(store)
    (clean_place / name).mkdir()
    shutil.copy(clean_place / "mlflow.db", clean_place / name / "mlflow.db")
    before = sorted(clean_place.iterdir())
    monkeypatch.chdir(clean_place / name)
    read()

    assert sorted(clean_place.iterdir()) == before


def test_a_folder_of_files_as_store(written, clean_place, monkeypatch):
    """MLflow's older store of plain files is read in the same way."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run_id = written("./files", [1.0, 0.5])
    (by_path,) = read("./files")
    (by_uri,) = read((clean_place / "files").as_uri())

    assert (by_path.id, by_uri.id) == (run_id, run_id)
    assert by_path.metrics["loss"].tolist() == [1.0, 0.5]
