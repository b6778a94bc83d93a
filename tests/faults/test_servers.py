"""Servers and databases that are down, locked or restarted: the block ends, everything arrives."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from wandb_loopback import training as wandb_training

import lrtrack
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.wandb import account

from .trainer import truth
from .training import SLACK, train

STEPS = 200
#: The user sees this once: the shipper may not even have noticed the fault yet.
LATE = "cannot upload at the moment|Upload is still running"

#: Locks a SQLite store until its input ends: `locker PATH`.
LOCKER = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30) as store:
    store.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process is writing to the store and does not finish."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "locked\n"
        yield
        it.communicate()


def everything_once(delivered, steps: int = STEPS) -> None:
    """Asserts that there is one finished run with each step once."""
    assert [run.info.status for run in delivered.runs()] == ["FINISHED"]
    assert delivered.losses() == truth(steps)


def test_a_server_that_is_away_from_the_middle_on(
    server, stored, monkeypatch, repeats, within_seconds
):
    """When a server goes down during a training, the block ends in time and the shipper delivers
    later.
    """
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    away = {
        STEPS // 2: lambda: within_seconds(60, lambda: bool(stored(server.uri).runs())),
        STEPS // 2 + 1: server.stop,
    }
    with pytest.warns(lrtrack.LRTrackWarning, match=LATE):
        end = train(STEPS, 0.005, away, flush_timeout=2)
    time.sleep(repeats(3, 60))
    server.start()
    within_seconds(90, lambda: stored(server.uri).status() == "FINISHED")

    assert end < 2 + 1 + SLACK
    everything_once(stored(server.uri))


@pytest.mark.soak
def test_a_server_that_goes_away_at_the_end(
    server, stored, monkeypatch, living_shippers, kill_shippers, within_seconds
):
    """Steps that were left at the end are delivered by the shipper of any later run."""
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.warns(lrtrack.LRTrackWarning, match=LATE):
        end = train(STEPS, 0.005, {STEPS - 1: server.stop}, flush_timeout=2)
    within_seconds(60, lambda: living_shippers() != [])
    kill_shippers()
    server.start()
    train(1, experiment="later", flush_timeout=300)
    within_seconds(60, lambda: stored(server.uri).status() == "FINISHED")

    assert end < 2 + 1 + SLACK
    everything_once(stored(server.uri))


def test_a_server_that_never_comes(
    server, monkeypatch, clean_place, living_shippers, kill_shippers, within_seconds
):
    """With a server that never answers, training ends in time with one warning and a full
    journal.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.warns(lrtrack.LRTrackWarning, match=LATE) as caught:
        end = train(STEPS, flush_timeout=2)
    within_seconds(60, lambda: living_shippers() != [])
    kill_shippers()  # it would wait for minutes
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))

    assert len(caught) == 1
    assert end < 2 + 1 + SLACK
    assert history.metrics["loss"].tolist() == [loss for _, loss in truth(STEPS)]


@pytest.mark.parametrize(
    "shape", ["embedded", pytest.param("behind a server", marks=pytest.mark.soak)]
)
def test_a_locked_database(
    shape, store, server, stored, clean_place, monkeypatch, repeats, within_seconds
):
    """While another writer locks the store, training ends; then everything arrives."""
    path, uri = clean_place / "mlflow.db", store
    if shape == "behind a server":
        server.start()
        path, uri = server.folder / "server.db", server.uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with locked(path):
        with pytest.warns(lrtrack.LRTrackWarning, match=LATE):
            end = train(STEPS, flush_timeout=2)
        time.sleep(repeats(6, 30))
    within_seconds(90, lambda: stored(uri).status() == "FINISHED")

    assert end < 2 + 1 + SLACK
    everything_once(stored(uri))
    with closing(sqlite3.connect(path)) as whole:
        assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_server_that_comes_and_goes(server, stored, monkeypatch, repeats, within_seconds):
    """Through one restart after another, each step arrives once."""
    count = repeats(0, 10)
    if not count:
        pytest.skip("takes minutes")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    at = {
        number * 300 + shift: action
        for number in range(count)
        for shift, action in ((150, server.stop), (290, server.start))
    }
    train(count * 300, 0.01, at, flush_timeout=300)
    within_seconds(60, lambda: stored(server.uri).status() == "FINISHED")

    everything_once(stored(server.uri), count * 300)


@pytest.mark.parametrize("part", [pytest.param("graphql", marks=pytest.mark.soak), "file_stream"])
def test_a_wandb_server_with_troubles_of_its_own(wandb_server, command_line, part):
    """After some answers of 500 and 503 from W&B, each row is there once."""
    answers = iter([500, 503, 500])

    def trouble(method: str, path: str, body: str) -> tuple[int, dict[str, str], str] | None:
        status = next(answers, None) if part in path else None
        return (status, {}, "{}") if status else None

    wandb_server.fault = trouble
    wandb_training.train(flush_timeout=300)
    command_line("sync")

    assert next(answers, None) is None
    wandb_training.all_there(wandb_server)
    assert wandb_server.runs(wandb_training.PLACE)[0].state == "finished"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("hangs", marks=pytest.mark.soak),  # 18 s; see test_wandb_in_mid_training.py
        "answers 429",
        pytest.param("answers 500", marks=pytest.mark.soak),
    ],
)
def test_a_wandb_server_that_is_no_use_until_the_block_has_ended(
    wandb_server, command_line, monkeypatch, within_seconds, how
):
    """The block ends in time with one message, and each row is there once the server is back."""
    is_back, was_met, last_step = threading.Event(), threading.Event(), []

    def trouble(method: str, path: str, body: str) -> tuple[int, dict[str, str], str] | None:
        was_met.set()
        if is_back.is_set():
            return None
        if how == "hangs":
            is_back.wait(120)
            return None
        return int(how.split()[1]), {"Retry-After": "1"}, "{}"

    monkeypatch.setattr(account, "_TIMEOUT", 0.5)  # the block's only question to the server
    wandb_server.fault = trouble
    at = {
        20: lambda run: within_seconds(120, was_met.is_set),
        39: lambda run: last_step.append(time.monotonic()),
    }
    try:
        with pytest.warns(lrtrack.errors.LRTrackWarning, match=LATE) as warned:
            wandb_training.train(at=at, flush_timeout=1.0)
        seconds = time.monotonic() - last_step[0]
    finally:
        is_back.set()
    command_line("sync")

    assert len([one for one in warned if "lrtrack" in str(one.category)]) == 1
    assert seconds < 1.0 + SLACK
    wandb_training.all_there(wandb_server)
    assert wandb_server.runs(wandb_training.PLACE)[0].state == "finished"
