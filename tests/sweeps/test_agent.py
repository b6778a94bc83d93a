"""The example through the real `wandb sweep` and `wandb agent`, and back into a report."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from wandb_loopback.clients import command

EXAMPLE = Path(__file__).parents[2] / "examples" / "wandb_sweep"
SCHEDULES = ("onecycle(max_lr={0.1, 0.3})", "cosine", "warmup(steps=20) -> cosine")
ASKED = (
    "sweep",
    *(part for spec in SCHEDULES for part in ("--schedule", spec)),
    *("--seeds", "3", "--program", "train.py", "--metric", "val_loss"),
)


def test_the_examples_file_is_what_the_command_writes(command_line):
    """The sweep file of the example equals the command's output."""
    assert command_line(*ASKED).stdout == (EXAMPLE / "sweep.yaml").read_text()


def test_a_sweep_through_the_agent(wandb_server, command_line, clean_place):
    """The agent trains every schedule with its first seed, with the same results as here."""
    shutil.copy(EXAMPLE / "train.py", clean_place)
    sweep = yaml.safe_load((EXAMPLE / "sweep.yaml").read_text())
    sweep["parameters"]["seed"]["values"] = [0]  # each run takes an agent seven seconds
    (clean_place / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    made = command(wandb_server, "sweep", "--project", "schedules", "sweep.yaml")
    (swept,) = wandb_server.sweeps("tester/schedules")
    # the agent runs whatever `python` the shell finds
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = command(wandb_server, "agent", f"tester/schedules/{swept.id}", timeout=300, PATH=path)
    command_line("sync", "--timeout", "300")  # what a busy machine has not uploaded yet
    reports = [
        json.loads(
            command_line(
                "compare", "--tracker", tracker, "--experiment", experiment,
                "--metric", "val_loss", "--format", "json",
            ).stdout
        )
        for tracker, experiment in (("wandb", "schedules"), ("local", "tester/schedules"))
    ]  # fmt: skip

    assert (made.returncode, done.returncode) == (0, 0), done.stderr
    runs = wandb_server.runs("tester/schedules")
    assert {(run.sweep, run.state) for run in runs} == {(swept.id, "finished")}
    wanted = sweep["parameters"]["schedule"]
    assert sorted((run.config["schedule"], run.config["seed"]) for run in runs) == sorted(
        (spec, 0) for spec in wanted["values"]
    )
    for report in reports:
        assert [row["runs"] for row in report["schedules"]] == [1, 1, 1, 1]
        names = sorted(row["schedule"] for row in report["schedules"])
        assert names == ["CosineAnnealingLR", "OneCycleLR", "OneCycleLR", "SequentialLR"]
    online, local = ({row["id"]: row for row in report["schedules"]} for report in reports)
    assert online.keys() == local.keys()
    for key, row in online.items():
        assert row["final"]["values"] == pytest.approx(local[key]["final"]["values"], rel=0, abs=0)
        assert row["steps"] == local[key]["steps"] == 200
