"""Measures how fast `lrtrack compare` reads many runs, with and without its local cache.

    python reading.py again | single RUNS

`again` compares twice in one process and prints the time of the second; `single` reads so many
runs with MLflow's own `get_metric_history`, one metric of one run at a time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import processes
import synthetic_runs
from results import Row

RUNS = 100
#: Runs that `get_metric_history` is measured on; the time for all runs is extrapolated.
SAMPLE = 10


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns rows for each kind of store."""
    rows = []
    with processes.place() as folder:
        database = f"sqlite:///{folder / 'mlflow.db'}"
        synthetic_runs.lay_mlflow(database, database, RUNS, steps)
        rows += _rows("SQLite", 2.0, rounds, steps, _Reader(folder, uri=database))
    with processes.place() as folder:
        database = f"sqlite:///{folder / 'mlflow.db'}"
        synthetic_runs.lay_logged(database, RUNS, steps)
        rows.append(_logged_row(rounds, steps, _Reader(folder, uri=database)))
    with processes.place() as folder, processes.postgres() as database:
        if database is None:
            note = "PostgreSQL is not installed here"
            rows.append(
                Row("`compare` from `mlflow server` on PostgreSQL", "not measured", note=note)
            )
        else:
            with processes.mlflow_server(folder, database) as uri:
                synthetic_runs.lay_mlflow(uri, database, RUNS, steps)
                name = "`mlflow server` on PostgreSQL"
                rows += _rows(name, 8.0, rounds, steps, _Reader(folder, uri=uri))
    with processes.place() as folder, processes.beside("wandb_loopback").Loopback() as server:
        synthetic_runs.lay_wandb(server, RUNS, steps)
        reader = _Reader(folder, more=server.environment() | {"WANDB_MODE": "online"})
        rows += _rows("a W&B server on loopback", 10.0, rounds, steps, reader)
    return rows


class _Reader:
    """Runs `lrtrack compare` and the programs that it is compared with."""

    def __init__(self, folder: Path, uri: str = "", more: dict[str, str] | None = None) -> None:
        self._folder = folder
        self.wandb = not uri
        self._more = dict(more or {}) or {"MLFLOW_TRACKING_URI": uri}
        self._more["XDG_CACHE_HOME"] = str(folder / "cache")

    def command(self, *more: str) -> processes.Done:
        """Runs `lrtrack compare` as a command."""
        tracker = ("--tracker", "wandb" if self.wandb else "mlflow")
        told = ("compare", "--experiment", synthetic_runs.EXPERIMENT, *tracker, *more)
        return processes.lrtrack(*told, folder=self._folder, **self._more)

    def program(self, *told: object) -> float:
        """Runs one of this file's own programs."""
        more = {**self._more, "LRTRACK_TRACKER": "wandb" if self.wandb else "mlflow"}
        done = processes.python(Path(__file__), *told, folder=self._folder, **more)
        return float(done.found["seconds"])


def _rows(name: str, reach: float, rounds: int, steps: int, reader: _Reader) -> Iterator[Row]:
    middle = statistics.median
    cold = middle(reader.command("--no-cache").seconds for _ in range(rounds))
    first = reader.command().seconds
    warm = middle(reader.command().seconds for _ in range(rounds))
    again = middle(reader.program("again", 0) for _ in range(rounds))
    what = f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics, {name}"
    note = f"the command, Python's start and all imports among it; {rounds} rounds, without cache"
    yield Row(f"{what}: cold", f"{cold:.1f} s", f"≤ {reach:.0f} s", cold <= reach,
              f"{note}; {first:.1f} s where it also makes its copies")  # fmt: skip
    yield Row(f"{what}: second time, in one session", f"{again:.2f} s", "≤ 1.5 s", again <= 1.5,
              "`lrtrack.compare()` again, as in a notebook")  # fmt: skip
    floor = middle(reader.program("floor", 0) for _ in range(rounds))
    yield Row(f"{what}: second time, as a command", f"{warm:.1f} s", "≤ 1.5 s", warm <= 1.5,
              f"{floor:.1f} s of it for the tracker's own client to be imported and to list the "
              "runs")  # fmt: skip
    if not reader.wandb:
        single = reader.program("single", SAMPLE) * RUNS / SAMPLE
        yield Row(f"{what}: `get_metric_history` / cold", f"{single / cold:.0f}×", "≥ 20×",
                  single / cold >= 20,
                  f"{single:.0f} s, from {SAMPLE} of the runs; without its imports")  # fmt: skip


def _logged_row(rounds: int, steps: int, reader: _Reader) -> Row:
    cold = statistics.median(reader.command("--no-cache").seconds for _ in range(rounds))
    again = reader.program("single", SAMPLE) * RUNS / SAMPLE
    return Row(
        f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics that others logged, SQLite: "
        "`get_metric_history` / cold",
        f"{again / cold:.0f}×",
        "≥ 4×",
        again / cold >= 4,
        f"{cold:.1f} s with all imports and {again:.0f} s, from {SAMPLE} of the runs",
    )


def measure_many(_: int, steps: int) -> list[Row]:
    """Returns rows for 1000 runs with ten times `steps`, and for a tenth of the runs."""
    steps, found = 10 * steps, {}
    for runs in (RUNS, 10 * RUNS):
        with processes.place() as folder:
            database = f"sqlite:///{folder / 'mlflow.db'}"
            synthetic_runs.lay_mlflow(database, None, runs, steps)
            reader = _Reader(folder, uri=database)
            found[runs] = (reader.command(), reader.command())
    (cold, warm), (few, _) = found[10 * RUNS], found[RUNS]
    most = max(cold.memory, warm.memory) / 1e9
    what = f"`lrtrack compare`, {10 * RUNS} runs × {steps} steps"
    note = f"the command, SQLite, first time; {warm.seconds:.0f} s the second"
    growth = cold.seconds / few.seconds
    return [
        Row(what, f"{cold.seconds:.0f} s, {most:.2f} GB", "completes, ≤ 2 GB", most <= 2.0, note),
        Row(f"{what}: seconds / those of {RUNS} runs", f"{growth:.1f}×", "≤ 12×, as points × 10",
            growth <= 12.0, f"{few.seconds:.1f} s for {RUNS} runs"),
    ]  # fmt: skip


def main(what: str, runs: int) -> dict[str, float]:
    """Runs one of this file's programs."""
    if what == "again":
        import lrtrack

        lrtrack.compare(synthetic_runs.EXPERIMENT)
        begun = time.perf_counter()
        str(lrtrack.compare(synthetic_runs.EXPERIMENT))
        return {"seconds": time.perf_counter() - begun}
    begun = time.perf_counter()
    if what == "floor":
        return {"seconds": _listed(begun)}
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(synthetic_runs.EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=runs)
    begun = time.perf_counter()
    for run in found:
        for name in synthetic_runs.METRICS:
            client.get_metric_history(run.info.run_id, name)
    return {"seconds": time.perf_counter() - begun}


def _listed(begun: float) -> float:
    """Returns seconds until the tracker's own client has listed the runs, including its import."""
    import os

    if os.environ["LRTRACK_TRACKER"] == "wandb":
        import wandb

        list(wandb.Api().runs(synthetic_runs.EXPERIMENT, per_page=200, lazy=False))
        found = time.perf_counter() - begun
        wandb.teardown()
        return found
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(synthetic_runs.EXPERIMENT)
    assert experiment is not None
    client.search_runs([experiment.experiment_id])
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
