"""Measures how fast `lrtrack compare` reads many runs, with and without its local cache.

    python reading.py again|single|floor RUNS EXPERIMENT

`again` compares twice in one process and prints the time of the second; `single` reads so many
runs with MLflow's own `get_metric_history`, one metric of one run at a time; `floor` lists the runs
with the tracker's own client.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import processes
import synthetic_runs
from results import Row, measured_row

RUNS = 100
#: Runs that `get_metric_history` is measured on in each round; the time for all is extrapolated.
SAMPLE = 3
#: Rounds with a thousand runs, and with runs that others logged, on a server: of minutes each.
OF_MANY, OF_LOGGED = 3, 1
_COMMAND = "the command, Python's start and all imports among it"


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns rows for each kind of store."""
    rows = []
    with processes.place() as folder:
        database = f"sqlite:///{folder / 'mlflow.db'}"
        synthetic_runs.lay_mlflow(database, database, RUNS, steps)
        rows += _rows("SQLite", 2.0, steps, _Reader(folder, uri=database).rounds(rounds))
    with processes.place() as folder:
        database = f"sqlite:///{folder / 'mlflow.db'}"
        synthetic_runs.lay_logged(database, RUNS, steps)
        reader = _Reader(folder, synthetic_runs.LOGGED, uri=database)
        rows += _logged_rows("SQLite", 4.0, steps, reader.rounds(rounds))
    with processes.place() as folder, processes.postgres() as database:
        name = "`mlflow server` on PostgreSQL"
        if database is None:
            note = "PostgreSQL is not installed here"
            rows.append(Row(f"`compare` from {name}", "not measured", note=note))
        else:
            with processes.mlflow_server(folder, database) as uri:
                synthetic_runs.lay_mlflow(uri, database, RUNS, steps)
                rows += _rows(name, 2.0, steps, _Reader(folder, uri=uri).rounds(rounds))
                synthetic_runs.lay_logged(database, RUNS, steps)
                reader = _Reader(folder, synthetic_runs.LOGGED, uri=uri)
                rows += _logged_rows(name, None, steps, reader.rounds(OF_LOGGED))
    with processes.place() as folder, processes.beside("wandb_loopback").Loopback() as server:
        synthetic_runs.lay_wandb(server, RUNS, steps)
        reader = _Reader(folder, more=server.environment() | {"WANDB_MODE": "online"})
        rows += _rows("a W&B server on loopback", 10.0, steps, reader.rounds(rounds))
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
        self._wandb = not uri
        self._more = dict(more or {}) or {"MLFLOW_TRACKING_URI": uri}
        self._more["XDG_CACHE_HOME"] = str(folder / "cache")

    def command(self, *more: str) -> processes.Done:
        """Runs `lrtrack compare` as a command."""
        tracker = ("--tracker", "wandb" if self._wandb else "mlflow")
        told = ("compare", "--experiment", self._experiment, *tracker, *more)
        return processes.lrtrack(*told, folder=self._folder, **self._more)

    def first(self) -> processes.Done:
        """Runs the command without copies of the runs on this machine, and lets it make them."""
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        return self.command()

    def program(self, what: str, runs: int) -> float:
        """Runs one of this file's own programs."""
        more = {**self._more, "LRTRACK_TRACKER": "wandb" if self._wandb else "mlflow"}
        told = (Path(__file__), what, runs, self._experiment)
        return float(processes.python(*told, folder=self._folder, **more).found["seconds"])

    def rounds(self, count: int) -> list[dict[str, float]]:
        """Runs each way once a round; returns seconds by way."""
        first = self.first().seconds
        ways = ("cold", "warm", "again", "floor" if self._wandb else "single")
        if self._experiment == synthetic_runs.LOGGED:
            ways = ("cold", "warm", "single")
        return [
            {"first": first, **each} for each in processes.in_rounds(count, ways, self._seconds)
        ]

    def _seconds(self, way: str) -> float:
        if way == "single":
            return self.program(way, SAMPLE) * RUNS / SAMPLE
        if way in ("again", "floor"):
            return self.program(way, 0)
        return self.command(*(["--no-cache"] if way == "cold" else [])).seconds


Seconds = Sequence[Mapping[str, float]]


def _rows(name: str, reach: float, steps: int, rounds: Seconds) -> list[Row]:
    seconds = {way: [each[way] for each in rounds] for way in rounds[0]}
    middle = {way: statistics.median(values) for way, values in seconds.items()}
    what = f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics, {name}"
    how = f"{_COMMAND}, without copies; {middle['first']:.1f} s where it also makes them, once"
    warm = "from its copies"
    if "floor" in middle:
        warm += (
            "; importing the tracker's own client and listing the runs with it takes "
            f"{middle['floor']:.1f} s"
        )
    rows = [
        _seconds_row(f"{what}: cold", seconds["cold"], reach, how),
        _seconds_row(f"{what}: second time, in one session", seconds["again"], 1.5,
                     "`lrtrack.compare()` again, as in a notebook"),
        _seconds_row(f"{what}: second time, as a command", seconds["warm"], 1.5, warm),
    ]  # fmt: skip
    return [*rows, _single_row(what, 20, rounds)] if "single" in middle else rows


def _logged_rows(name: str, reach: float | None, steps: int, rounds: Seconds) -> list[Row]:
    """Rows for runs that others logged, whose every point a store has to look up."""
    first, warm = (statistics.median(each[way] for each in rounds) for way in ("first", "warm"))
    what = f"`lrtrack compare`, {RUNS} runs × {steps} steps × 3 metrics that others logged, {name}"
    how = f"{_COMMAND}; {first:.1f} s where it also makes its copies, {warm:.1f} s from them"
    cold = [each["cold"] for each in rounds]
    return [_seconds_row(f"{what}: cold", cold, None, how), _single_row(what, reach, rounds)]


def _seconds_row(what: str, values: Sequence[float], goal: float | None, how: str) -> Row:
    return measured_row(what, values, goal, digits=2, unit="s", how=how)


def _single_row(what: str, goal: float | None, rounds: Seconds) -> Row:
    ratios = [each["single"] / each["cold"] for each in rounds]
    single = statistics.median(each["single"] for each in rounds)
    how = f"{single:.0f} s, from {SAMPLE} of the runs; without its imports"
    return measured_row(f"{what}: `get_metric_history` / cold", ratios, goal, at_least=True,
                        digits=1, unit="×", how=how)  # fmt: skip


def measure_many(_: int, steps: int) -> list[Row]:
    """Returns rows for 1000 runs with ten times `steps`, and for a tenth of the runs."""
    steps, done, warm = 10 * steps, {}, 0.0
    for runs in (RUNS, 10 * RUNS):
        with processes.place() as folder:
            database = f"sqlite:///{folder / 'mlflow.db'}"
            synthetic_runs.lay_mlflow(database, None, runs, steps)
            reader = _Reader(folder, uri=database)
            done[runs] = [reader.first() for _ in range(OF_MANY)]
            warm = reader.command().seconds
    return _many_rows(steps, done[RUNS], done[10 * RUNS], warm)


def _many_rows(steps: int, few: Sequence[Any], many: Sequence[Any], warm: float) -> list[Row]:
    """Returns the rows of a thousand runs.

    Args:
        steps: steps of each run.
        few: the commands with 100 runs, a `processes.Done` each.
        many: those with 1000 runs, as many.
        warm: seconds of the same from copies, once.
    """
    what = f"`lrtrack compare`, {10 * RUNS} runs × {steps} steps × 3 metrics"
    growth = [most.seconds / least.seconds for most, least in zip(many, few, strict=True)]
    how = f"goal: as points × 10; {statistics.median(each.seconds for each in few):.1f} s for them"
    return [
        measured_row(f"{what}: time", [each.seconds for each in many], 15.0, digits=1, unit="s",
                     how=f"the command, SQLite, first time; {warm:.1f} s the second time, once"),
        measured_row(f"{what}: memory", [each.memory / 1e9 for each in many], 0.6, digits=2,
                     unit="GB", how="the most that was resident at any time"),
        measured_row(f"{what}: seconds / those of {RUNS} runs", growth, 12.0, digits=1, unit="×",
                     how=how),
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
