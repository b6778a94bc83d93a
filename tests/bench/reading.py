"""Measures how fast `lrtrack compare` reads many runs, with and without its local cache.

    python reading.py again|single|floor RUNS EXPERIMENT

`again` compares twice in one process and prints the time of the second; `single` reads so many
runs with MLflow's own `get_metric_history`, one metric of one run at a time.
"""

from __future__ import annotations

import json
import shutil
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
#: The fewest rounds of a command of seconds, whose times vary; and those with a thousand runs.
FEWEST, OF_MANY = 10, 3


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
        reader = _Reader(folder, synthetic_runs.LOGGED, uri=database)
        rows += _logged_rows("SQLite", "≥ 4×", rounds, steps, reader)
    with processes.place() as folder, processes.postgres() as database:
        name = "`mlflow server` on PostgreSQL"
        if database is None:
            note = "PostgreSQL is not installed here"
            rows.append(Row(f"`compare` from {name}", "not measured", note=note))
        else:
            with processes.mlflow_server(folder, database) as uri:
                synthetic_runs.lay_mlflow(uri, database, RUNS, steps)
                rows += _rows(name, 2.0, rounds, steps, _Reader(folder, uri=uri))
                synthetic_runs.lay_logged(database, RUNS, steps)
                reader = _Reader(folder, synthetic_runs.LOGGED, uri=uri)
                rows += _logged_rows(name, "", 1, steps, reader)  # minutes, most in the server
    with processes.place() as folder, processes.beside("wandb_loopback").Loopback() as server:
        synthetic_runs.lay_wandb(server, RUNS, steps)
        reader = _Reader(folder, more=server.environment() | {"WANDB_MODE": "online"})
        rows += _rows("a W&B server on loopback", 10.0, rounds, steps, reader)
    return rows


class _Reader:
    """Runs `lrtrack compare` and the programs that it is compared with."""

    def __init__(
        self,
        folder: Path,
        experiment: str = synthetic_runs.EXPERIMENT,
        uri: str = "",
        more: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._experiment = experiment
        self.wandb = not uri
        self._more = dict(more or {}) or {"MLFLOW_TRACKING_URI": uri}
        self._more["XDG_CACHE_HOME"] = str(folder / "cache")

    def command(self, *more: str) -> processes.Done:
        """Runs `lrtrack compare` as a command."""
        tracker = ("--tracker", "wandb" if self.wandb else "mlflow")
        told = ("compare", "--experiment", self._experiment, *tracker, *more)
        return processes.lrtrack(*told, folder=self._folder, **self._more)

    def first(self) -> processes.Done:
        """Runs the command without copies of the runs on this machine, and lets it make them."""
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        return self.command()

    def program(self, what: str, runs: int) -> float:
        """Runs one of this file's own programs."""
        more = {**self._more, "LRTRACK_TRACKER": "wandb" if self.wandb else "mlflow"}
        told = (Path(__file__), what, runs, self._experiment)
        return float(processes.python(*told, folder=self._folder, **more).found["seconds"])


def _rows(name: str, reach: float, rounds: int, steps: int, reader: _Reader) -> Iterator[Row]:
    middle, often = statistics.median, max(rounds, FEWEST)
    colds = sorted(reader.command("--no-cache").seconds for _ in range(often))
    cold = middle(colds)
    first = reader.first().seconds
    warm = middle(reader.command().seconds for _ in range(often))
    again = middle(reader.program("again", 0) for _ in range(rounds))
    what = f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics, {name}"
    note = (f"the command, Python's start and all imports among it; {often} rounds, {colds[0]:.1f} "
            f"to {colds[-1]:.1f} s, without cache")  # fmt: skip
    yield Row(f"{what}: cold", f"{cold:.1f} s", f"≤ {reach:.0f} s", cold <= reach,
              f"{note}; {first:.1f} s where it also makes its copies")  # fmt: skip
    yield Row(f"{what}: second time, in one session", f"{again:.2f} s", "≤ 1.5 s", again <= 1.5,
              "`lrtrack.compare()` again, as in a notebook")  # fmt: skip
    floor = middle(reader.program("floor", 0) for _ in range(rounds))
    yield Row(f"{what}: second time, as a command", f"{warm:.1f} s", "≤ 1.5 s", warm <= 1.5,
              f"importing the tracker's own client and listing the runs with it takes {floor:.1f} "
              "s")  # fmt: skip
    if not reader.wandb:
        single = reader.program("single", SAMPLE) * RUNS / SAMPLE
        yield Row(f"{what}: `get_metric_history` / cold", f"{single / cold:.0f}×", "≥ 20×",
                  single / cold >= 20,
                  f"{single:.0f} s, from {SAMPLE} of the runs; without its imports")  # fmt: skip


def _logged_rows(name: str, reach: str, rounds: int, steps: int, reader: _Reader) -> Iterator[Row]:
    """Rows for runs that others logged, whose every point a store has to look up."""
    cold = statistics.median(reader.command("--no-cache").seconds for _ in range(rounds))
    first, warm = reader.first().seconds, reader.command().seconds
    single = reader.program("single", SAMPLE) * RUNS / SAMPLE
    ratio = single / cold
    what = f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics that others logged, {name}"
    counted = "one round" if rounds == 1 else f"{rounds} rounds"
    yield Row(f"{what}: cold", f"{cold:.1f} s", "", None,
              f"the command with all imports, {counted}; {first:.1f} s where it also makes its "
              f"copies, {warm:.1f} s from them")  # fmt: skip
    yield Row(f"{what}: `get_metric_history` / cold", f"{ratio:.1f}×", reach,
              ratio >= float(reach.strip("≥ ×")) if reach else None,
              f"{single:.0f} s, from {SAMPLE} of the runs; without its imports")  # fmt: skip


def measure_many(_: int, steps: int) -> list[Row]:
    """Returns rows for 1000 runs with ten times `steps`, and for a tenth of the runs."""
    steps, seconds, memory, warm = 10 * steps, {}, [], 0.0
    for runs in (RUNS, 10 * RUNS):
        with processes.place() as folder:
            database = f"sqlite:///{folder / 'mlflow.db'}"
            synthetic_runs.lay_mlflow(database, None, runs, steps)
            reader = _Reader(folder, uri=database)
            done = [reader.first() for _ in range(OF_MANY)]
            again = reader.command()
        seconds[runs] = statistics.median(each.seconds for each in done)
        memory, warm = [each.memory / 1e9 for each in (*done, again)], again.seconds
    cold, few, most = seconds[10 * RUNS], seconds[RUNS], max(memory)
    what = f"`lrtrack compare`, {10 * RUNS} runs × {steps} steps × 3 metrics"
    note = f"the command, SQLite, first time; {OF_MANY} rounds; {warm:.1f} s the second time"
    growth = cold / few
    return [
        Row(f"{what}: time", f"{cold:.1f} s", "≤ 15 s", cold <= 15.0, note),
        Row(f"{what}: memory", f"{most:.2f} GB", "≤ 0.6 GB", most <= 0.6,
            "the most that was resident at any time, in any of these rounds"),
        Row(f"{what}: seconds / those of {RUNS} runs", f"{growth:.1f}×", "≤ 12×, as points × 10",
            growth <= 12.0, f"{few:.1f} s for {RUNS} runs"),
    ]  # fmt: skip


def main(what: str, runs: int, name: str) -> dict[str, float]:
    """Runs one of this file's programs."""
    if what == "again":
        import lrtrack

        lrtrack.compare(name)
        begun = time.perf_counter()
        str(lrtrack.compare(name))
        return {"seconds": time.perf_counter() - begun}
    begun = time.perf_counter()
    if what == "floor":
        return {"seconds": _listed(begun, name)}
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=runs)
    begun = time.perf_counter()
    for run in found:
        for name in synthetic_runs.METRICS:
            client.get_metric_history(run.info.run_id, name)
    return {"seconds": time.perf_counter() - begun}


def _listed(begun: float, name: str) -> float:
    """Returns seconds until the tracker's own client has listed the runs, including its import."""
    import os

    if os.environ["LRTRACK_TRACKER"] == "wandb":
        import wandb

        list(wandb.Api().runs(name, per_page=200, lazy=False))
        found = time.perf_counter() - begun
        wandb.teardown()
        return found
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    client.search_runs([experiment.experiment_id])
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
