"""Runs that wait for delivery, and the command line under a memory limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.schedules import Schedule

EXPERIMENT = "hostile"
#: Runs the command line under a limit that keeps this machine alive, and prints its peak memory.
_MEASURED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
from lrtrack.cli import main
try:
    main(prog_name="lrtrack")
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak {peak} MiB", file=sys.stderr)
"""


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """The journals of the working directory."""
    journals = Layout(clean_place / ".lrtrack")
    journals.create()
    return journals


@pytest.fixture
def journalled(layout: Layout, clean_place: Path) -> Callable[..., str]:
    """`journalled(number, name, uri, …)` writes a finished run of three steps and returns its
    id.
    """

    def write(number: int, name: str, uri: str | None = None, **fields: Any) -> str:
        target = Target("mlflow", uri, experiment=EXPERIMENT)
        fields_of_run = {"experiment": EXPERIMENT, "targets": (target,), "version": "1.0", **fields}
        schedule = Schedule("StepLR", {"step_size": 30})
        run = Run(f"{number:032x}", name, schedule, cwd=str(clean_place), **fields_of_run)
        writer = JournalWriter(layout.journal(run.id), run)
        for step, loss in enumerate([3.0, 2.0, 1.0 + number]):
            writer.append(step, 100.0 + step, {"loss": loss, "lr": 0.1})
        writer.close(State.FINISHED)
        layout.marker(run.id).touch()
        return run.id

    return write


@pytest.fixture
def measured(clean_place: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], int]]:
    """Runs `lrtrack …` in its own process; returns its output and its peak memory in MiB."""

    def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], int]:
        process = subprocess.run(
            [sys.executable, "-P", "-c", _MEASURED, *arguments],
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        stderr, _, peak = process.stderr.rpartition("peak ")
        process.stderr = stderr
        return process, int(peak.split()[0])

    return run
