"""Each step reaches W&B exactly once: shared mode, offline, and a writer that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from wandb_loopback.clients import KILL_THE_WRITER, command, script
from wandb_loopback.training import train

from lrtrack.trackers.wandb import service, uploaded_rows

STEPS = 60
#: A run of the user's, a block in it, and what happens after step 30.
JOINED = (
    KILL_THE_WRITER
    + """
import sys, torch, wandb, lrtrack

weight = torch.nn.Parameter(torch.ones(()))
optimizer = torch.optim.SGD([weight], lr=0.1)
run = wandb.init(project="p", id="joined", settings=wandb.Settings(mode=sys.argv[1]))
with lrtrack.track(optimizer, seed=1, flush_timeout=60) as tracked:
    run.log({"mine": 0})
    for step in range(60):
        optimizer.step()
        tracked.log(loss=1.0 / (1 + step))
        if step == 30 and sys.argv[2] == "kill":
            kill_the_writer(tracked)
run.finish()
"""
)


def steps_of(run: Any) -> list[int]:
    """The steps of lrtrack's rows, in the order of the server."""
    return [row["lrtrack/step"] for row in run.history if "lrtrack/step" in row]


@pytest.mark.parametrize("mode", ["shared", "online", "offline"])
def test_an_open_run_whose_writer_is_killed(wandb_server, mode: str) -> None:
    """The rows that the user's process had taken are not written again by the next writer."""
    done = script(wandb_server, JOINED, mode, "kill", timeout=120)
    if mode == "offline":
        (folder,) = Path("wandb").glob("offline-run-*-joined")
        command(wandb_server, "sync", str(folder))

    assert (done.returncode, done.stdout) == (0, "killed\n"), done.stderr
    (run,) = wandb_server.runs("tester/p")
    assert steps_of(run) == list(range(STEPS))
    assert run.summary["loss_best"] == 1.0 / STEPS


def test_shared_mode_of_a_run_of_its_own(wandb_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B only appends in shared mode; a writer that is killed leaves no step twice."""
    monkeypatch.setenv("WANDB_MODE", "shared")
    train(STEPS, at={30: lambda run: (run.flush(), kill_writers())})

    (run,) = wandb_server.runs("tester/digits")
    assert steps_of(run) == list(range(STEPS))


def test_an_offline_run_of_its_own(wandb_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a writer that is killed, one directory is left to sync, with every step."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(STEPS, at={30: lambda run: (run.flush(), kill_writers())})
    (folder,) = Path("wandb").glob("offline-run-*")
    command(wandb_server, "sync", str(folder))

    (run,) = wandb_server.runs("tester/digits")
    assert steps_of(run) == list(range(STEPS))


def kill_writers() -> None:
    """Kills the processes that write this directory's runs to W&B."""
    for process in psutil.process_iter():
        try:
            ours = "lrtrack.trackers.wandb.writer" in process.cmdline()
            if ours and process.cwd() == str(Path.cwd()):
                os.kill(process.pid, signal.SIGKILL)
        except psutil.Error:
            continue


ROWS = [[0, 0.0, {"lr": 0.1, "loss": 2.0}], [1, 1.0, {"lr": 0.1, "loss": float("nan")}]]


@pytest.mark.parametrize(
    ("summary", "last"),
    [
        ({"lrtrack/step": 1, "lr": 0.1, "loss": "NaN"}, 1),
        ({"lrtrack/step": 0, "lr": 0.1, "loss": 2}, 0),
        ({"lrtrack/step": 7, "lr": 0.1, "loss": 2.0}, 0),
        ({"lrtrack/step": 1, "lr": 0.1, "loss": 3.0}, None),
        ({"lrtrack/step": 1, "lr": {"a": 1}}, None),
    ],
)
def test_the_last_row_taken(summary: dict[str, Any], last: int | None) -> None:
    """A row was taken if the service's summary has all its values, whoever logged later."""
    assert uploaded_rows.last_accepted(ROWS, summary) == last


def test_only_own_unsynced_directories_are_superseded(tmp_path: Path) -> None:
    """Directories of other ids, of synced runs, and links to elsewhere are left alone."""
    run_id = "0123456789abcdef" * 2
    for name in ("1-" + run_id, "2-" + run_id, "3-" + run_id, "4-other"):
        (tmp_path / f"offline-run-{name}").mkdir()
    (tmp_path / f"offline-run-2-{run_id}" / f"run-{run_id}.wandb.synced").touch()
    (tmp_path / f"offline-run-5-{run_id}").symlink_to(tmp_path)
    current = tmp_path / f"offline-run-3-{run_id}"

    assert uploaded_rows.superseded_folders(current, run_id) == [
        tmp_path / f"offline-run-1-{run_id}"
    ]
    assert uploaded_rows.superseded_folders(current, "../*") == []


def test_a_service_that_is_gone(tmp_path: Path) -> None:
    """A service with a missing socket or a closed port is reported as gone."""
    assert not service.is_running("")
    assert not service.is_running(f"3-1-unix-{tmp_path / 'socket'}")
    assert not service.is_running("3-1-tcp-localhost-1")
    assert service.is_running("9-another-form")
