"""Faults on the way to W&B: training continues, and every row arrives exactly once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from wandb_loopback.training import PLACE, all_there, arrived, journalled, train

import lrtrack
from lrtrack.errors import LRTrackWarning


class Busy:
    """Asks for patience a few times, and then lets requests through."""

    def __init__(self, part: str, times: int = 3) -> None:
        self.part = part
        self.left = times

    def __call__(self, method: str, path: str, body: str) -> tuple[int, dict[str, str], str] | None:
        if self.part not in path or not self.left:
            return None
        self.left -= 1
        return 429, {"Retry-After": "1"}, "slow down"


@pytest.mark.parametrize("part", ["file_stream", "graphql"])
def test_requests_for_patience(wandb_server, part: str):
    """A busy server is retried until it has every row."""
    wandb_server.fault = Busy(part)
    train()

    assert wandb_server.fault.left == 0
    all_there(wandb_server)


def test_a_server_that_goes_away_in_the_middle(wandb_server, command_line):
    """Steps made while the server is away stay in the journal and arrive later."""
    away = {9: lambda run: run.flush(), 10: lambda run: wandb_server.down()}
    train(at={**away, 30: lambda run: wandb_server.up()})
    command_line("sync")

    all_there(wandb_server)
    assert wandb_server.runs(PLACE)[0].state == "finished"


def test_a_server_that_goes_away_at_the_end(wandb_server, command_line):
    """The block ends on time without the server, and the run's end arrives later."""
    with pytest.warns(LRTrackWarning, match="Upload is still running|cannot upload"):
        train(
            at={30: lambda run: run.flush(), 39: lambda run: wandb_server.down()}, flush_timeout=2
        )
    wandb_server.up()
    command_line("sync")

    all_there(wandb_server)
    assert wandb_server.runs(PLACE)[0].state == "finished"


def test_a_project_that_is_deleted(wandb_server, command_line):
    """A run whose project is deleted is delivered again in full."""

    def delete(run: Any) -> None:
        run.flush()
        with wandb_server.store.lock:
            wandb_server.store.projects.clear()

    train(at={20: delete}, flush_timeout=20)
    command_line("sync")

    all_there(wandb_server)


@pytest.mark.parametrize("status", [404, 500])
def test_a_stream_that_is_refused(wandb_server, command_line, status: int):
    """If W&B's client gives up silently, the journal is kept until the rows are stored."""
    refuse = lambda method, path, body: (status, {}, "{}") if "file_stream" in path else None  # noqa: E731
    wandb_server.fault = refuse
    with pytest.warns(LRTrackWarning):
        train(flush_timeout=4)
    wandb_server.fault = None
    command_line("sync")

    all_there(wandb_server)
    assert wandb_server.runs(PLACE)[0].state == "finished"


def test_a_server_that_is_down(wandb_server, command_line):
    """A training that ends long before the server is back still arrives completely."""
    wandb_server.down()
    with pytest.warns(LRTrackWarning, match="Upload is still running|cannot upload"):
        train(flush_timeout=1)
    wandb_server.up()
    command_line("sync")

    all_there(wandb_server)


@pytest.mark.parametrize("forgotten", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_killed_shipper(
    wandb_server, living_shippers, command_line, within_seconds, forgotten: bool
):
    """A new shipper checks what W&B has, even without a cursor, and continues from there."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with lrtrack.track(optimizer, tracker="wandb", experiment="digits", flush_timeout=300) as run:
        for step in range(50):
            optimizer.step()
            run.log(loss=float(step))
        run.flush()
        if forgotten:
            within_seconds(60, lambda: len(arrived(wandb_server)) > 40)
        for shipper in living_shippers():
            os.kill(shipper, signal.SIGKILL)
        for cursor in Path(".lrtrack/runs").glob("*.cursor") if forgotten else ():
            cursor.unlink()
        for step in range(50):
            optimizer.step()
            run.log(loss=float(step))
    command_line("sync")

    all_there(wandb_server)
    assert len(journalled()) == 100


def test_a_lost_cursor(wandb_server, living_shippers, command_line, clean_place, within_seconds):
    """After its cursor is lost, a delivered run is checked in W&B and no row is sent twice."""
    train()
    within_seconds(60, lambda: living_shippers() == [])
    (cursor,) = (clean_place / ".lrtrack" / "runs").glob("*.cursor")
    cursor.write_text('{"offset": "all of it"}')
    (clean_place / ".lrtrack" / "queue" / cursor.name.partition(".")[0]).touch()
    done = command_line("sync")

    assert (done.returncode, done.stdout) == (0, "Delivered 1 of 1 runs.\n"), done.stderr
    all_there(wandb_server)
    assert len(wandb_server.runs(PLACE)) == 1


@pytest.mark.parametrize("status", [403, 503])
def test_a_storage_that_refuses_the_file(wandb_server, monkeypatch, status: int):
    """A run whose file is refused ends with rows and losses, and a warning names the missing
    file.
    """
    monkeypatch.setattr("lrtrack.tracking.upload_monitor._reported", set())
    wandb_server.fault = lambda method, path, body: (
        (status, {}, "no") if method == "PUT" and "history.parquet" in path else None
    )
    with pytest.warns(LRTrackWarning, match="without lrtrack/history.parquet .W&B's file storage"):
        train(flush_timeout=120)

    (run,) = wandb_server.runs(PLACE)
    all_there(wandb_server)
    assert run.state == "finished"
    assert "loss_final" in run.summary
    assert "lrtrack/history.parquet" not in run.files
