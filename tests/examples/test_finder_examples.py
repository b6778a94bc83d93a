"""The examples of the LR finder and of Ranger, run as a user would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ABSENT = (
    "import runpy, sys; sys.modules['pytorch_optimizer'] = None;"
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process of the test's own, without a display."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def number(line: str) -> float:
    """What stands behind the colon."""
    return float(line.rpartition(":")[2])


def test_the_lr_finder(store, command_line, clean_place) -> None:
    """A rate is found, trained with, and both runs are in the experiment; the plot is drawn."""
    done = run(str(EXAMPLES / "lr_finder.py"))
    assert done.returncode == 0, done.stderr
    rate, accuracy = map(number, done.stdout.splitlines())
    command_line("sync", "--timeout", "300")  # what a busy machine has not uploaded yet
    listed = json.loads(
        command_line("runs", "--experiment", "lr-finder", "--format", "json").stdout
    )
    compared = json.loads(
        command_line("compare", "--experiment", "lr-finder", "--format", "json").stdout
    )

    assert 0.01 < rate < 1
    assert accuracy > 0.95
    assert (clean_place / "lr_finder.png").stat().st_size > 10_000
    runs = {row["kind"]: row for row in listed["runs"]}
    assert sorted(runs) == ["find", "train"]
    assert runs["find"]["suggestion"] == pytest.approx(rate, rel=1e-2)
    assert (runs["train"]["steps"], runs["train"]["state"]) == (400, "FINISHED")
    (schedule,) = compared["schedules"]
    assert (schedule["schedule"], schedule["runs"]) == ("OneCycleLR", 1)
    assert schedule["lr_peak"] == pytest.approx(runs["find"]["suggestion"], rel=1e-3)


def test_ranger(store, command_line) -> None:
    """Trained flat, then down a cosine, and recorded under both."""
    pytest.importorskip("pytorch_optimizer")
    done = run(str(EXAMPLES / "ranger.py"))
    assert done.returncode == 0, done.stderr
    command_line("sync", "--timeout", "300")
    (row,) = json.loads(command_line("runs", "--experiment", "ranger", "--format", "json").stdout)[
        "runs"
    ]

    assert number(done.stdout) > 0.95
    assert (row["steps"], row["state"], row["seed"]) == (400, "FINISHED", 0)
    assert "ConstantLR" in row["schedule"]
    assert "CosineAnnealingLR" in row["schedule"]


def test_ranger_without_its_package(clean_place) -> None:
    """The error names the extra that brings it."""
    done = run("-c", ABSENT, str(EXAMPLES / "ranger.py"))

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'lrtrack[ranger]'")
