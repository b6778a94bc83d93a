"""New runs in W&B: every step arrives once, despite outages, refusals and kills."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from wandb_loopback.training import PLACE, all_there, journalled, train

import lrtrack
from lrtrack.errors import LRTrackWarning, UsageError


def test_a_run_of_its_own(wandb_server):
    """Values, config, tags, group, summary and file are what the contract says."""
    tracked = train(group="g", config={"depth": 3}, tags={"who": "me"})
    (run,) = wandb_server.runs(PLACE)

    all_there(wandb_server)
    assert (run.id, run.state, run.group) == (tracked.id, "finished", "g")
    assert tracked.url == f"{wandb_server.url}/{PLACE}/runs/{run.id}"
    assert run.tags == ["OneCycleLR", "cpu", "who:me"]
    assert run.config["depth"] == 3
    told = run.config["lrtrack"]
    assert (told["seed"], told["version"]) == (1, lrtrack.__version__)
    assert told["scheduler"]["name"] == "OneCycleLR"
    assert told["scheduler"]["max_lr"] == 0.2
    assert told["device"]["type"] == "cpu"
    losses = [metrics["loss"] for metrics in journalled().values()]
    assert run.summary["loss_best"] == min(losses)
    assert run.summary["loss_final"] == pytest.approx(sum(losses[-2:]) / 2, rel=1e-15)
    table = pq.read_table(io.BytesIO(run.files["lrtrack/history.parquet"]))
    assert table["step"].to_pylist() == list(range(40))


def test_a_block_that_raises_is_a_failed_run(wandb_server):
    """An exception in the block reaches the user, and W&B shows the run as failed."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with pytest.raises(ZeroDivisionError):
        with lrtrack.track(optimizer, tracker="wandb", experiment="digits", flush_timeout=300):
            optimizer.step()
            raise ZeroDivisionError

    (run,) = wandb_server.runs(PLACE)
    assert run.state == "failed"


def test_the_environment_decides_as_for_wandb_itself(wandb_server, monkeypatch):
    """Project, group, name and notes come from W&B's own variables."""
    monkeypatch.setenv("WANDB_PROJECT", "digits")
    monkeypatch.setenv("WANDB_RUN_GROUP", "from-env")
    monkeypatch.setenv("WANDB_NAME", "called")
    monkeypatch.setenv("WANDB_NOTES", "noted")
    train(5, experiment=None)
    (run,) = wandb_server.runs(PLACE)

    assert (run.group, run.name, run.notes) == ("from-env", "called", "noted")


def test_offline_and_then_synced(wandb_server, monkeypatch):
    """An offline run is an ordinary offline directory, with the columnar file in it."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    train()
    (folder,) = Path("wandb").glob("offline-run-*")
    file = folder / "files" / "lrtrack" / "history.parquet"
    before = wandb_server.runs(PLACE)
    command = [sys.executable, "-P", "-m", "wandb", "sync", str(folder)]
    subprocess.run(
        command, env={**os.environ, "WANDB_MODE": "online"}, check=True, capture_output=True
    )

    assert pq.read_table(file)["step"].to_pylist() == list(range(40))
    assert before == []
    all_there(wandb_server)


def test_disabled_writes_nothing(wandb_server, monkeypatch, clean_place):
    """With W&B disabled, training continues, the journal is written, and W&B receives nothing."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train()

    assert len(journalled()) == 40
    assert wandb_server.requests == []
    assert not (clean_place / "wandb").exists()


def test_both_trackers_from_one_journal(wandb_server, store, command_line):
    """MLflow and W&B have the run, and a report over both counts it once."""
    train(tracker="mlflow,wandb")
    chosen = ("--tracker", "mlflow", "--tracker", "wandb", "--experiment", "digits")
    listed = command_line("compare", *chosen, "--format", "csv")

    all_there(wandb_server)
    assert listed.returncode == 0
    assert ",1," in listed.stdout.splitlines()[1]


def test_without_a_key_there_is_no_training(wandb_server, monkeypatch):
    """A missing API key raises at the `with` statement and names the command that fixes it."""
    monkeypatch.delenv("WANDB_API_KEY")

    with pytest.raises(UsageError, match=f"wandb login --host {wandb_server.url}"):
        train()


def test_a_wrong_key_is_told_once(wandb_server, monkeypatch, clean_place, command_line):
    """A wrong API key gives one warning, is not stored, and a right key later delivers
    everything.
    """
    wrong = "f" * 40
    monkeypatch.setenv("WANDB_API_KEY", wrong)
    with pytest.warns(LRTrackWarning, match="refused the API key: correct or unset") as caught:
        train()
    done = command_line("sync", WANDB_API_KEY=wandb_server.api_key)

    assert len(caught) == 1
    assert done.stdout == "Delivered 1 of 1 runs.\n"
    all_there(wandb_server)
    for path in (clean_place / ".lrtrack").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert wrong.encode() not in content
            assert wandb_server.api_key.encode() not in content
