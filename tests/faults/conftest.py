"""What the fault tests share: how often they try, trainers in processes, what arrived.

`LRTRACK_SOAK=1` (`tox -e soak`) repeats as often as the promises say; without it, as often as
every change can wait for.
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
    """`repeats(few, many)`: `few`, or `many` in a soak."""
    return lambda few, many: many if SOAK else few


@pytest.fixture
def trainer(clean_place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `trainer.py` in its own session, past its first step; killed when the test is over.

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


class Nursery:
    """A process that starts trainings fast; see `nursery.py`."""

    def __init__(self, place: Path, **environment: str) -> None:
        self.place = place
        # Not in safe-path mode: it imports its neighbour `trainer`.
        safe = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
        with (place / "nursery.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(TRAINER.with_name("nursery.py"))],
                cwd=place,
                env={**safe, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def train(self, name: str, pause: float, ending: str = "return", steps: int = 10**9) -> int:
        """Start a training; the process id of it, past its first step."""
        return self._ask(f"train {name} {pause} {ending} {steps}")

    def stop(self, name: str) -> None:
        """Have a training end its loop."""
        (self.place / f"stop-{name}").touch()

    def wait(self, training: int) -> int:
        """The exit status of a training, when it has ended."""
        return self._ask(f"wait {training}")

    def steps(self, name: str) -> int:
        """How many steps a training has made."""
        return int.from_bytes((self.place / f"steps-{name}").read_bytes(), "little")

    def until(self, name: str, steps: int) -> int:
        """Wait until a training has made so many steps; how many it has made by then."""
        deadline = time.monotonic() + PATIENCE
        while self.steps(name) < steps:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        return self.steps(name)

    def said(self) -> str:
        """What the trainings have said on stderr."""
        return (self.place / "nursery.log").read_text()

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.said()
        return int(answer)

    def close(self) -> None:
        """Kill it with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def nursery(clean_place: Path) -> Iterator[Callable[..., Nursery]]:
    """`nursery(**environment)` starts one in the working directory, for this test."""
    started: list[Nursery] = []

    def begin(**environment: str) -> Nursery:
        started.append(Nursery(clean_place, **environment))
        return started[-1]

    yield begin
    for each in started:
        each.close()


class Stored:
    """What a tracking store has of the experiment."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = mlflow.MlflowClient(uri)

    def runs(self) -> list[Run]:
        """Its runs, oldest first."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([experiment.experiment_id], order_by=order))

    def only(self) -> Run | None:
        """The only run; None before it is there."""
        runs = self.runs()
        assert len(runs) <= 1
        return runs[0] if runs else None

    def status(self) -> str | None:
        """How the only run stands."""
        run = self.only()
        return run.info.status if run else None

    def named(self, name: str) -> Run | None:
        """The run of that name; None before it is there."""
        found = [run for run in self.runs() if run.info.run_name == name]
        assert len(found) <= 1
        return found[0] if found else None

    def losses(self, run_id: str | None = None) -> list[tuple[int, float]]:
        """(step, loss) as stored, duplicates among them, of a run or of the only one."""
        if run_id is None:
            run = self.only()
            assert run is not None
            run_id = run.info.run_id
        return [(m.step, m.value) for m in self.client.get_metric_history(run_id, "loss")]


def steps_in(journals: Path) -> dict[str, int]:
    """How many steps the journals of a directory have, by the run's name."""
    found = {}
    for path in journals.glob("runs/*.journal"):
        with contextlib.suppress(LRTrackError, OSError):  # just begun, or just deleted
            reader = JournalReader(path)
            found[reader.run.name] = reader.table()[0].num_rows
    return found


@pytest.fixture
def journalled(clean_place: Path) -> Callable[..., int]:
    """`journalled(name, folder)`: how many steps of a training are in its journal."""
    return lambda name, folder=clean_place / ".lrtrack": steps_in(folder).get(name, 0)


@pytest.fixture
def stored() -> Callable[[str], Stored]:
    """`stored(uri)` reads what arrived there."""
    return Stored


@pytest.fixture
def proxy(served: Any) -> Iterator[Proxy]:
    """A proxy in front of the file's `mlflow server`, which has nothing of the experiment yet."""
    found = Proxy(served.port)
    yield found
    found.stop()
    client = mlflow.MlflowClient(served.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        client.rename_experiment(experiment.experiment_id, uuid.uuid4().hex)
