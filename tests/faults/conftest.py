"""Fixtures of the fault tests: repetitions, training processes, and what a store has received.

With `LRTRACK_SOAK=1` (`tox -e soak`) the tests repeat as often as the documented promises say;
without it, only as often as every change can wait for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from lrtrack.errors import LRTrackError
from lrtrack.journal.reader import JournalReader

from .proxy import Proxy

SOAK = os.environ.get("LRTRACK_SOAK", "") == "1"
TRAINER = Path(__file__).parent / "trainer.py"
EXPERIMENT = "faults"
#: Seconds after which a test gives up waiting.
PATIENCE = 120.0


@pytest.fixture
def repeats() -> Callable[[int, int], int]:
    """`repeats(few, many)` returns `few`, or `many` in a soak run."""
    return lambda few, many: many if SOAK else few


@pytest.fixture
def trainer(clean_place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `trainer.py` in its own session and returns after its first step; kills it at the end.

    `trainer(steps, pause, ending="return", script=…, **environment)`.
    """
    started: list[subprocess.Popen[str]] = []

    def begin(
        steps: int, pause: float, ending: str = "return", script: Path = TRAINER, **environment: str
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(steps), str(pause), ending],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "ready\n", (first, process.communicate())
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


class ForkServer:
    """A process that starts trainings quickly: see `fork_server.py`."""

    def __init__(self, place: Path, **environment: str) -> None:
        self.place = place
        # Not in safe-path mode, because it imports its neighbour `trainer`.
        safe = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
        with (place / "fork_server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(TRAINER.with_name("fork_server.py"))],
                cwd=place,
                env={**safe, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def train(self, name: str, pause: float, ending: str = "return", steps: int = 10**9) -> int:
        """Starts a training and returns its process id after its first step."""
        return self._ask(f"train {name} {pause} {ending} {steps}")

    def stop(self, name: str) -> None:
        """Makes a training end its loop."""
        (self.place / f"stop-{name}").touch()

    def wait(self, training: int) -> int:
        """Waits for a training to end and returns its exit status."""
        return self._ask(f"wait {training}")

    def steps(self, name: str) -> int:
        """Returns how many steps a training has made."""
        return int.from_bytes((self.place / f"steps-{name}").read_bytes(), "little")

    def until(self, name: str, steps: int) -> int:
        """Waits until a training has made `steps` steps; returns how many it has made by then."""
        deadline = time.monotonic() + PATIENCE
        while self.steps(name) < steps:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        return self.steps(name)

    def said(self) -> str:
        """Returns what the trainings have printed on stderr."""
        return (self.place / "fork_server.log").read_text()

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.said()
        return int(answer)

    def close(self) -> None:
        """Kills the process and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def fork_server(clean_place: Path) -> Iterator[Callable[..., ForkServer]]:
    """`fork_server(**environment)` starts a fork server in the working directory for this test."""
    started: list[ForkServer] = []

    def begin(**environment: str) -> ForkServer:
        started.append(ForkServer(clean_place, **environment))
        return started[-1]

    yield begin
    for process in started:
        process.close()


class Stored:
    """The contents of the experiment in a tracking store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = mlflow.MlflowClient(uri)

    def runs(self) -> list[Run]:
        """Returns the experiment's runs, oldest first."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([experiment.experiment_id], order_by=order))

    def only(self) -> Run | None:
        """Returns the only run, or None before it exists."""
        runs = self.runs()
        assert len(runs) <= 1
        return runs[0] if runs else None

    def status(self) -> str | None:
        """Returns the status of the only run."""
        run = self.only()
        return run.info.status if run else None

    def named(self, name: str) -> Run | None:
        """Returns the run of that name, or None before it exists."""
        runs = [run for run in self.runs() if run.info.run_name == name]
        assert len(runs) <= 1
        return runs[0] if runs else None

    def losses(self, run_id: str | None = None) -> list[tuple[int, float]]:
        """Returns (step, loss) as stored, including duplicates, of one run or of the only one."""
        if run_id is None:
            run = self.only()
            assert run is not None
            run_id = run.info.run_id
        return [(m.step, m.value) for m in self.client.get_metric_history(run_id, "loss")]


def steps_in(journals: Path) -> dict[str, int]:
    """Returns the number of steps in the journals of a directory, by run name."""
    counts = {}
    for path in journals.glob("runs/*.journal"):
        with contextlib.suppress(LRTrackError, OSError):  # just started, or just deleted
            reader = JournalReader(path)
            counts[reader.run.name] = reader.table()[0].num_rows
    return counts


@pytest.fixture
def journalled(clean_place: Path) -> Callable[..., int]:
    """`journalled(name, folder)` returns how many steps of a training are in its journal."""
    return lambda name, folder=clean_place / ".lrtrack": steps_in(folder).get(name, 0)


@pytest.fixture
def stored() -> Callable[[str], Stored]:
    """`stored(uri)` reads what has arrived in that store."""
    return Stored


@pytest.fixture
def proxy(served: Any) -> Iterator[Proxy]:
    """A proxy in front of the module's `mlflow server`, whose experiment is still empty."""
    server = Proxy(served.port)
    yield server
    server.stop()
    client = mlflow.MlflowClient(served.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        client.rename_experiment(experiment.experiment_id, uuid.uuid4().hex)
