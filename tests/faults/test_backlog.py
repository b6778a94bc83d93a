"""Thousands of journals wait for a server that is down, and new runs are not affected."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lrtrack.journal.framing import Kind, decode, encode
from lrtrack.journal.layout import Layout
from lrtrack.journal.signature import signed
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.credentials import Snapshot
from lrtrack.trackers import registry


@pytest.fixture
def nobody() -> str:
    """The address of a server that does not exist."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def waiting(
    clean_place: Path, nobody: str, repeats: Callable[[int, int], int]
) -> tuple[Layout, list[str]]:
    """A journal directory with a long queue for that server; returns the ids of its runs."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    target = Target("mlflow", nobody, experiment="faults")
    own = Snapshot.take([registry.get("mlflow")]).credentials
    first = Run("0" * 32, "waiting", targets=(target,), cwd=str(clean_place), credentials=own)
    path = layout.journal(first.id)
    writer = JournalWriter(path, first)
    for step in range(10):
        writer.append(step, time.time(), {"loss": float(step)})
    writer.close(State.FINISHED)
    content = path.read_bytes()
    path.unlink()
    ids = [f"{number:032x}" for number in range(repeats(1500, 10_000))]
    for run_id in ids:
        layout.journal(run_id).write_bytes(renamed(content, run_id))
        layout.marker(run_id).touch()
    return layout, ids


def renamed(journal: bytes, run_id: str) -> bytes:
    """Returns the journal of a run under another id, which is in its first frame."""
    head = next(decode(journal))
    event = json.loads(head.payload)
    event["run"]["id"] = run_id
    whole = encode(Kind.EVENT, json.dumps(event | signed(event["run"])).encode())
    return journal[: head.start] + whole + journal[head.end :]


def test_a_run_that_begins_now(
    fork_server: Callable[..., Any],
    waiting: tuple[Layout, list[str]],
    store: str,
    stored: Callable[[str], Any],
    living_shippers: Callable[[], list[int]],
    within_seconds: Callable[..., None],
) -> None:
    """A new run is delivered while it trains, by a shipper that keeps few files open."""
    layout, ids = waiting
    trainings = fork_server()
    child = trainings.train("now", 0.005)
    delivered = stored(store)
    within_seconds(90, lambda: delivered.only() is not None and len(delivered.losses()) > 100)
    (shipper,) = living_shippers()
    files = psutil.Process(shipper).num_fds()
    trainings.stop("now")
    status = trainings.wait(child)
    within_seconds(90, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert files < 200
    assert delivered.losses() == [(step, step + 1.0) for step in range(trainings.steps("now"))]
    assert set(layout.queued()) >= set(ids)
    psutil.Process(shipper).terminate()


def test_the_command_line(
    waiting: tuple[Layout, list[str]], command_line: Callable[..., Any], nobody: str
) -> None:
    """`doctor` and `sync` report how many runs wait and why, in a short text, and end."""
    _, ids = waiting
    doctor = command_line("doctor")
    synced = command_line("sync", "--timeout", "60")

    assert doctor.returncode == 1
    assert f"  undelivered    {len(ids)}\n" in doctor.stdout
    assert f"and {len(ids) - 20:,} more\n" in doctor.stdout
    assert doctor.stdout.count("\n") < 60
    assert (synced.returncode, synced.stdout) == (1, f"Delivered 0 of {len(ids)} runs.\n")
    assert f"): MLflow at {nobody}: cannot be reached" in synced.stderr.splitlines()[0]
    assert synced.stderr.count("\n") == 22
