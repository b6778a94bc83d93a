"""Writers take turns at a database, and its troubles that pass are not taken for refusals."""

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
    """How many of three times `together` writers were inside at once; those meet there."""
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
    ("uri", "most"), [("sqlite:///turns.db", 1), ("postgresql+psycopg2://127.0.0.1/turns", 8)]
)
def test_writers_take_turns(uri: str, most: int):
    """SQLite has one writer, other databases fewer than MLflow has connections."""
    assert most_at_once(uri, most) == most


def test_a_server_takes_as_many_as_come():
    """Whoever writes through a server waits for nobody here."""
    assert most_at_once("http://127.0.0.1:9", 16) >= 16


def test_two_stores_do_not_wait_for_each_other():
    """A turn at one database is none at another."""
    with writer_slot("sqlite:///one.db"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(most_at_once, "sqlite:///two.db", 1).result(timeout=300) == 1


def test_a_turn_ends_with_an_exception():
    """Whoever fails lets the next one in."""
    with pytest.raises(ZeroDivisionError), writer_slot("sqlite:///three.db"):
        raise ZeroDivisionError

    assert most_at_once("sqlite:///three.db", 1) == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("QueuePool limit of size 5 (Background on … https://sqlalche.me/e/21/3o7r)", "later"),
        ("connection already closed (Background … https://sqlalche.me/e/20/rvf5)", "later"),
        ("no such column (Background on this error at: https://sqlalche.me/e/20/f405)", "never"),
        ("Invalid value for parameter 'key'", "never"),
    ],
)
def test_which_bad_requests_may_go_well_later(text: str, kind: str):
    """MLflow calls every trouble of its database a bad request; some of it passes."""
    later = kind == "later"
    with pytest.raises(TrackerUnavailable if later else TrackerError) as caught:
        with translate_errors(None):
            raise mlflow.exceptions.MlflowException(text, error_code=BAD_REQUEST)

    assert isinstance(caught.value, TrackerUnavailable) is later
