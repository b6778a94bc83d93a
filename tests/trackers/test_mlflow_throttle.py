"""The limit on concurrent writers to a database, and its temporary errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import mlflow.exceptions
import pytest
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from lrtrack.errors import TrackerError, TrackerUnavailable
from lrtrack.trackers.mlflow.errors import translate_errors
from lrtrack.trackers.mlflow.throttle import writer_slot


def most_at_once(uri: str, together: int) -> int:
    """The most concurrent writers among 3 × `together`; `together` writers wait for each other."""
    inside, most, lock = 0, 0, threading.Lock()
    meeting = threading.Barrier(together, timeout=300)

    def write(_: int) -> None:
        nonlocal inside, most
        with writer_slot(uri):
            with lock:
                inside += 1
                most = max(most, inside)
            meeting.wait()
            with lock:
                inside -= 1

    with ThreadPoolExecutor(3 * together) as pool:
        list(pool.map(write, range(3 * together)))
    return most


@pytest.mark.parametrize(
    ("uri", "most"), [("sqlite:///limited.db", 1), ("postgresql+psycopg2://127.0.0.1/limited", 8)]
)
def test_concurrent_writers_are_limited(uri: str, most: int):
    """SQLite gets one writer at a time, and other databases eight."""
    assert most_at_once(uri, most) == most


def test_a_server_has_no_limit():
    """The writers to a tracking server are not limited."""
    assert most_at_once("http://127.0.0.1:9", 16) >= 16


def test_two_stores_do_not_wait_for_each_other():
    """Writers to different databases do not wait for each other."""
    with writer_slot("sqlite:///one.db"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(most_at_once, "sqlite:///two.db", 1).result(timeout=300) == 1


def test_an_exception_releases_the_slot():
    """A writer that fails releases its slot."""
    with pytest.raises(ZeroDivisionError), writer_slot("sqlite:///three.db"):
        raise ZeroDivisionError

    assert most_at_once("sqlite:///three.db", 1) == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("QueuePool limit of size 5 (Background on … https://sqlalche.me/e/21/3o7r)", "temporary"),
        ("connection already closed (Background … https://sqlalche.me/e/20/rvf5)", "temporary"),
        ("no such column (Background on this error at: https://sqlalche.me/e/20/f405)", "final"),
        ("Invalid value for parameter 'key'", "final"),
    ],
)
def test_which_bad_requests_are_temporary(text: str, kind: str):
    """Temporary database errors are recognized although MLflow reports them as bad requests."""
    temporary = kind == "temporary"
    with pytest.raises(TrackerUnavailable if temporary else TrackerError) as caught:
        with translate_errors(None):
            raise mlflow.exceptions.MlflowException(text, error_code=BAD_REQUEST)

    assert isinstance(caught.value, TrackerUnavailable) is temporary
