"""Measures how long commands that read take, beside importing MLflow's client.

Processor time, in pairs: a command, then the imports that a program needs which reads a SQLite
store with MLflow's client. The store is that of `lrtrack demo`.
"""

from __future__ import annotations

import os
import resource
import statistics
from pathlib import Path

import processes
from results import Row

EXPERIMENT = "lrtrack-demo"
IMPORTS = "import mlflow.tracking; import mlflow.store.tracking.sqlalchemy_store"
#: What is measured: the command, and the most of the imports' time that it may take.
COMMANDS = {
    "`lrtrack --help`": (("--help",), 0.05),
    "`lrtrack runs` of the demo": (("runs", EXPERIMENT), 0.25),
    "`lrtrack compare` of the demo, without copies": (("compare", EXPERIMENT, "--no-cache"), 0.4),
    "`lrtrack compare` of the demo, again": (("compare", EXPERIMENT), 0.3),
}


def measure(rounds: int, _: int) -> list[Row]:
    """Returns a row for each command."""
    rows = []
    with processes.place() as folder:
        more = {"XDG_CACHE_HOME": str(folder / "cache")}
        processes.lrtrack("demo", folder=folder, **more)
        for what, (command, reach) in COMMANDS.items():
            _command_seconds(command, folder, more)  # compiles what is not compiled yet
            pairs = [
                (_command_seconds(command, folder, more), _import_seconds(folder, more))
                for _ in range(rounds)
            ]
            ratios = [own / imports for own, imports in pairs]
            ratio = statistics.median(ratios)
            own, imports = (statistics.median(column) for column in zip(*pairs, strict=True))
            rows.append(Row(
                f"{what} / importing MLflow's client",
                f"{ratio:.2f}",
                f"≤ {reach}",
                ratio <= reach,
                f"{own:.2f} s and {imports:.2f} s of processor time; {rounds} pairs, "
                f"{min(ratios):.2f} to {max(ratios):.2f}; load of the machine "
                f"{os.getloadavg()[0]:.0f}",
            ))  # fmt: skip
    return rows


def _command_seconds(command: tuple[str, ...], folder: Path, more: dict[str, str]) -> float:
    before = _used()
    processes.lrtrack(*command, folder=folder, **more)
    return _used() - before


def _import_seconds(folder: Path, more: dict[str, str]) -> float:
    before = _used()
    processes.python("-c", IMPORTS, folder=folder, **more)
    return _used() - before


def _used() -> float:
    """Seconds of processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
