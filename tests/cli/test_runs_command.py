"""`lrtrack runs` as users see it: in a pipe, on a terminal, in files."""

from __future__ import annotations

import csv
import json
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow.sink import MlflowSink

LOCAL = ("runs", "--tracker", "local", "--experiment", "digits")
STEP = Schedule("StepLR", {"step_size": 30})
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m")


@pytest.fixture
def three(journal: Callable[..., str]) -> list[str]:
    """Two runs of one schedule and a diverged one of another, oldest first; their ids."""
    place = {"device_name": "Tesla", "started": 1.0}
    return [
        journal(STEP, [1.0, 0.5], 0, **place),
        journal(STEP, [1.0, 0.6], 1, **place | {"started": 2.0}),
        journal(Schedule("constant"), [1.0, math.inf], 0, **place | {"started": 3.0}),
    ]


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What `lrtrack` writes to stdout where that is a terminal."""
    ours, theirs = pty.openpty()
    code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that the other side has closed a terminal
        pass
    os.close(ours)
    assert process.wait(300) == 0
    return shown.decode()


def test_the_table_in_a_pipe(command_line, three):
    """Newest first, 80 columns, no colours, and nothing on stderr."""
    result = command_line(*LOCAL)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "digits · 3 runs\n"
        "1 diverged, on Tesla.\n"
        "\n"
        "                                                            final           \n"
        "run         schedule              seed  state     steps      loss  diagnoses\n"
        "────────────────────────────────────────────────────────────────────────────\n"
        "constant-0  constant                 0  finished      2  diverged  LR006    \n"
        "StepLR-1    StepLR(step_size=30)     1  finished      2    0.6000  –        \n"
        "StepLR-0    StepLR(step_size=30)     0  finished      2    0.5000  –        \n"
        "\n"
        "! LR006 in 1 run of constant: the loss is inf from step 1 on; the step before \n"
        "had learning rate 0.1. → lower the peak learning rate or warm up longer; clip \n"
        "gradients; inspect the batch of that step.\n"
        "Shortened to fit: --format csv or json has everything.\n"
    )


def test_a_wide_pipe_has_room_for_the_ids(command_line, three):
    """`COLUMNS` counts in a pipe too: with room, nothing is left out."""
    result = command_line(*LOCAL, COLUMNS="130")

    assert [run_id in result.stdout for run_id in three] == [True, True, True]
    assert "Shortened" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 130


def test_80_columns_are_never_exceeded(lrtrack, journal, monkeypatch):
    """Long names and nested schedules are broken into lines, not cut off at the edge."""
    inner = [{"name": "LinearLR", "total_iters": 5}, {"name": "CosineAnnealingLR", "T_max": 95}]
    nested = Schedule("SequentialLR", {"milestones": [5], "schedulers": inner})
    journal(nested, [1.0], name="a name that nobody would want to read twice " * 3)
    monkeypatch.setenv("COLUMNS", "80")
    result = lrtrack(*LOCAL)

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_colours_on_a_terminal(three):
    """What went wrong is red there."""
    assert "\x1b[31mdiverged" in on_a_terminal(*LOCAL, COLUMNS="80")


def test_no_color(three):
    """With `NO_COLOR`, a terminal gets the same words without any colour."""
    shown = on_a_terminal(*LOCAL, COLUMNS="80", NO_COLOR="1")

    assert COLOUR.findall(shown) == []
    assert "diverged  LR006" in shown


def test_json(lrtrack, three):
    """Everything about each run, in strict JSON: a run that diverged has no final value."""
    result = lrtrack(*LOCAL, "--format", "json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)

    assert (found["format"], found["experiment"], found["metric"]) == (1, "digits", "loss")
    assert [run["id"] for run in found["runs"]] == three[::-1]
    assert [run["final"] for run in found["runs"]] == [None, 0.6, 0.5]
    assert found["runs"][2] == {
        "name": "StepLR-0",
        "schedule": "StepLR(step_size=30)",
        "schedule_id": STEP.id,
        "seed": 0,
        "device": "Tesla",
        "state": "FINISHED",
        "diverged": False,
        "steps": 2,
        "final": 0.5,
        "tracker": "local",
        "tracker_id": three[0],
        "id": three[0],
        "url": None,
        "kind": "train",
        "suggestion": None,
        "diagnoses": [],
        "source": "declared",
    }


def test_csv(lrtrack, three):
    """One row a run, with names of columns that are those of the JSON."""
    text = lrtrack(*LOCAL, "--format", "csv").stdout
    rows = list(csv.DictReader(text.splitlines()))

    assert [row["id"] for row in rows] == three[::-1]
    assert [row["final"] for row in rows] == ["", "0.6", "0.5"]
    assert [row["diverged"] for row in rows] == ["true", "false", "false"]


def test_another_metric(lrtrack, three):
    """`--metric` says whose final value is shown; a run that diverged has none of any."""
    rows = json.loads(lrtrack(*LOCAL, "--metric", "lr", "--format", "json").stdout)

    assert rows["metric"] == "lr"
    assert [run["final"] for run in rows["runs"]] == [None, 0.1, 0.1]


def test_runs_of_mlflow(command_line, store: str):
    """The same list out of MLflow, from the store that the directory has."""
    run = Run("1" * 32, "mine", STEP, experiment="digits", version="1.0", started=1.0)
    sink = MlflowSink(run, Target("mlflow", store, experiment="digits"), None)
    remote = sink.open()
    sink.write([StepRecord(step, 100.0 + step, {"loss": 0.5}) for step in range(5)], doubt=False)
    sink.close(State.FINISHED, 105.0, {})
    result = command_line("runs", "--experiment", "digits", "--format", "json")
    (found,) = json.loads(result.stdout)["runs"]

    assert (found["name"], found["state"], found["steps"]) == ("mine", "FINISHED", 5)
    assert (found["schedule"], found["final"]) == ("StepLR(step_size=30)", 0.5)
    assert (found["tracker"], found["id"]) == ("mlflow", run.id)
    assert found["tracker_id"] == remote.id


def test_an_unknown_experiment(lrtrack, three):
    """Exit status 1 with the nearest name, no traceback, nothing on stdout."""
    result = lrtrack("runs", "--tracker", "local", "--experiment", "digit")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Unknown experiment 'digit'. Did you mean 'digits'?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["runs", "compare"])
@pytest.mark.parametrize("uri", [(), ("--tracking-uri", "sqlite:///missing.db")])
def test_without_a_store_nothing_is_made(command_line, clean_place: Path, command, uri):
    """Reading where nothing was tracked says so and leaves the directory empty."""
    result = command_line(command, "--experiment", "x", *uri)
    name = "missing.db" if uri else "mlflow.db"

    assert (result.returncode, result.stdout) == (1, "")
    assert f"sqlite:///{clean_place / name}: no store there yet." in result.stderr
    assert "--tracking-uri" in result.stderr
    assert list(clean_place.iterdir()) == []
