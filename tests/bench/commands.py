"""Measures how long commands that read take, beside importing MLflow's client.

Processor time: in each round all commands run once, in a random order, and among them the imports
that a program needs which reads a SQLite store with MLflow's client. The runs are those of `lrtrack
demo`, in a SQLite store and on a real `mlflow server` that keeps them in SQLite.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
from results import Row, measured_row

EXPERIMENT = "lrtrack-demo"
IMPORTS = "import mlflow.tracking; import mlflow.store.tracking.sqlalchemy_store"
#: Trains until its input ends, so that there is something to watch.
TRAINING = f"""
import sys, torch, lrtrack
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.01)
with lrtrack.track(optimizer, tracker="local", experiment="{EXPERIMENT}", total_steps=1000) as run:
    for step in range(500):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    run.flush()
    print("trains", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Command:
    """A command that is measured.

    Attributes:
        what: its name in the table.
        arguments: what follows `lrtrack`.
        reach: the most of the imports' time that it may take; None: no target.
        is_served: whether it reads from the server.
    """

    what: str
    arguments: tuple[str, ...]
    reach: float | None = None
    is_served: bool = False


_RUNS, _COMPARE = ("runs", EXPERIMENT), ("compare", EXPERIMENT)
_COLD = (*_COMPARE, "--no-cache")
COMMANDS = (
    Command("`lrtrack --help`", ("--help",), 0.05),
    Command("`lrtrack runs` of the demo, from SQLite", _RUNS, 0.25),
    Command("`lrtrack compare` of the demo, from SQLite, without copies", _COLD, 0.4),
    Command("`lrtrack compare` of the demo, from SQLite, again", _COMPARE, 0.3),
    Command("`lrtrack runs` of the demo, from a server", _RUNS, 0.25, True),
    Command("`lrtrack compare` of the demo, from a server, without copies", _COLD, 0.4, True),
    Command("`lrtrack compare` of the demo, from a server, again", _COMPARE, 0.3, True),
    Command("`lrtrack doctor` with a SQLite store", ("doctor",)),
    Command("`lrtrack watch --once` with one training here", ("watch", EXPERIMENT, "--once")),
    Command("`lrtrack preview` of a cosine", ("preview", "cosine", "--steps", "1000")),
    Command("`lrtrack sync` with nothing to upload", ("sync",)),
)


def measure(rounds: int, _: int) -> list[Row]:
    """Returns a row for each command."""
    with processes.place() as folder:
        # Compiled modules are there, as after the first use.
        more = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": ""}
        database = f"sqlite:///{processes.empty_store(folder).rename(folder / 'server.db')}"
        with processes.mlflow_server(folder, database) as uri:
            environments = {False: more, True: {**more, "MLFLOW_TRACKING_URI": uri}}
            for environment in environments.values():
                processes.lrtrack("demo", folder=folder, **environment)
            with _training(folder, more):
                by_what = {command.what: command for command in COMMANDS}

                def run(what: str) -> float:
                    if what == IMPORTS:
                        return _seconds(lambda: processes.python("-c", what, folder=folder, **more))
                    command = by_what[what]
                    own = environments[command.is_served]
                    return _seconds(
                        lambda: processes.lrtrack(*command.arguments, folder=folder, **own)
                    )

                for what in (*by_what, IMPORTS):
                    run(what)
                found = processes.in_rounds(rounds, [*by_what, IMPORTS], run)
    return [
        _row(command, [(each[command.what], each[IMPORTS]) for each in found])
        for command in COMMANDS
    ]


def _row(command: Command, pairs: Sequence[tuple[float, float]]) -> Row:
    own, imports = (statistics.median(column) for column in zip(*pairs, strict=True))
    return measured_row(
        f"{command.what} / importing MLflow's client",
        [own / imports for own, imports in pairs],
        command.reach,
        digits=2,
        how=f"{own:.2f} s and {imports:.2f} s of processor time",
    )


def _seconds(run: Callable[[], object]) -> float:
    """Runs a program; returns its seconds of processor time."""
    began = _used()
    run()
    return _used() - began


@contextmanager
def _training(folder: Path, more: dict[str, str]) -> Iterator[None]:
    """A training that goes on during the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING],
        cwd=folder,
        env=processes.environment(**more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "trains\n":
            raise SystemExit("The training to watch has failed.")
        yield
    finally:
        process.communicate()


def _used() -> float:
    """Seconds of processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
