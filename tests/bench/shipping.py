"""Measures delivery speed against MLflow's own `log_batch` with 1000 points a call.

    python shipping.py ours | raw | all | thin STEPS

The first two store the same points at MLFLOW_TRACKING_URI, from a process that has already
connected to it. lrtrack also creates the run, its tags and its columnar file. The other two deliver
steps of 1 ms to W&B, offline, with `wandb_rows` as they say.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import processes
import synthetic_runs
from results import Row

METRICS = 3
#: Steps of 1 ms in a minute.
MINUTE = 60_000


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns a row for each store, and one for the rows in W&B's charts."""
    rows = [_chart_rows(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        store = processes.empty_store(Path(folder))
        rows.append(_row("SQLite", rounds, steps, lambda way: _sqlite(store, way, steps)))
        rows.append(
            _row("`mlflow server` on SQLite", rounds, steps, lambda way: _server(store, way, steps))
        )
    with processes.place() as folder, processes.postgres() as database:
        note = "PostgreSQL is not installed here"
        if database is None:
            return [*rows, Row("shipper / raw `log_batch`, PostgreSQL", "not measured", note=note)]
        with processes.mlflow_server(folder, database) as uri:
            for name, where in (("PostgreSQL", database), ("`mlflow server` on PostgreSQL", uri)):
                rows.append(
                    _row(name, rounds, steps, lambda way, w=where: _one(folder, w, way, steps))
                )
    return rows


def _chart_rows(rounds: int) -> Row:
    found = processes.in_rounds(rounds, ("all", "thin"), _minute)
    rows = {way: statistics.median(each[way]["rows"] for each in found) for way in found[0]}
    took = {
        way: statistics.median(each[way]["cpu"] for each in found) / MINUTE * 1e6 for way in rows
    }
    share = statistics.median(each["thin"]["cpu"] / each["all"]["cpu"] for each in found)
    return Row(
        'W&B, offline: rows of the first minute of 1 ms steps, `wandb_rows="thin"` / `"all"`',
        f"{rows['thin']:,.0f} / {rows['all']:,.0f}",
        "≤ 2,100",
        rows["thin"] <= 2_100,
        f"processor time a step {took['thin']:.0f} µs against {took['all']:.0f} µs, ratio "
        f"{share:.2f}, start and end of the run included; {METRICS} metrics, {rounds} rounds",
    )


def _minute(way: str) -> dict[str, float]:
    with processes.place() as folder:
        told = (Path(__file__), way, MINUTE)
        return dict(processes.python(*told, folder=folder, WANDB_API_KEY="0" * 40).found)


def _row(name: str, rounds: int, steps: int, run: Any) -> Row:
    found = processes.in_rounds(rounds, ("ours", "raw"), run)
    points = steps * METRICS
    ours, raw = (points / statistics.median(e[way] for e in found) for way in ("ours", "raw"))
    share = statistics.median(each["raw"] / each["ours"] for each in found)
    return Row(
        f"shipper: points a second / raw `log_batch`, {name}",
        f"{share:.2f}",
        "≥ 0.9",
        share >= 0.9,
        f"{ours:,.0f} against {raw:,.0f} points a second; {points} points, {rounds} rounds",
    )


def _sqlite(store: Path, way: str, steps: int) -> float:
    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        return _one(folder, f"sqlite:///{folder / 'mlflow.db'}", way, steps)


def _server(store: Path, way: str, steps: int) -> float:
    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        with processes.mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}") as uri:
            return _one(folder, uri, way, steps)


def _one(folder: Path, uri: str, way: str, steps: int) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        told = (Path(__file__), way, steps)
        done = processes.python(*told, folder=Path(own), MLFLOW_TRACKING_URI=uri)
    return float(done.found["seconds"])


def main(way: str, steps: int) -> dict[str, float]:
    """Delivers and prints how long it took."""
    if way in ("all", "thin"):
        return _wandb(way, steps)
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("bench")
    number = experiment.experiment_id if experiment else client.create_experiment("bench")
    return {"seconds": (_raw if way == "raw" else _ours)(client, number, steps)}


def _raw(client: Any, experiment: str, steps: int) -> float:
    from mlflow.entities import Metric

    (run,) = synthetic_runs.runs_of(1)
    table = synthetic_runs.history_of(run, steps)
    stamps = [int(when * 1000) for when in table["time"].to_pylist()]
    columns = [table[name].to_pylist() for name in synthetic_runs.METRICS]
    points = [
        Metric(name, column[step], stamps[step], step)
        for step in range(steps)
        for name, column in zip(synthetic_runs.METRICS, columns, strict=True)
    ]
    run_id = client.create_run(experiment).info.run_id
    begun = time.perf_counter()
    for at in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[at : at + 1000])
    return time.perf_counter() - begun


def _ours(client: Any, experiment: str, steps: int) -> float:
    from lrtrack.records import Target
    from lrtrack.settings import claim_process

    claim_process()
    table = synthetic_runs.history_of(next(synthetic_runs.runs_of(1)), steps)
    target = Target("mlflow", os.environ["MLFLOW_TRACKING_URI"], "bench")
    delivery = _delivery(target, table, table["time"].to_pylist())
    begun = time.perf_counter()
    while delivery.advance():
        pass
    took = time.perf_counter() - begun
    stored = client.get_run(str(delivery.cursor.remote_id)).data.metrics
    if stored["loss"] != table["loss"][-1].as_py():
        raise SystemExit("not everything was delivered")
    return took


def _delivery(target: Any, table: Any, times: list[float]) -> Any:
    """Returns the delivery of a finished run with these steps, nothing of which is done."""
    from lrtrack.journal.layout import Layout
    from lrtrack.journal.writer import JournalWriter
    from lrtrack.records import Run, State
    from lrtrack.shipping.delivery import Delivery
    from lrtrack.trackers import registry

    run = Run(id=uuid.uuid4().hex, name="ours", targets=(target,), cwd=str(Path.cwd()))
    layout = Layout(Path(".lrtrack").absolute())
    layout.create()
    writer = JournalWriter(layout.journal(run.id), run)
    columns = {name: table[name].to_pylist() for name in synthetic_runs.METRICS}
    for step, when in enumerate(times):
        writer.append(step, when, {name: column[step] for name, column in columns.items()})
    writer.close(State.FINISHED)
    return Delivery(layout, run.id, target, registry.get(target.tracker))


def _wandb(way: str, steps: int) -> dict[str, float]:
    """Delivers to W&B, offline, and returns the rows and the seconds of processor time."""
    from lrtrack.settings import claim_process
    from lrtrack.trackers import registry
    from lrtrack.trackers.wandb.sink import WandbSink

    claim_process()
    target = replace(registry.get("wandb").target("bench", "bench"), thin=way == "thin")
    table = synthetic_runs.history_of(next(synthetic_runs.runs_of(1)), steps)
    delivery = _delivery(target, table, [1.7e9 + step / 1000 for step in range(steps)])
    write, sizes = WandbSink.write, list[int]()

    def counted(sink: WandbSink, records: Any, doubt: bool) -> None:
        write(sink, records, doubt)
        sizes.append(len(records))

    WandbSink.write = counted  # type: ignore[method-assign]
    begun = sum(os.times()[:4])
    while delivery.advance():
        pass
    delivery.release()
    return {"rows": sum(sizes), "cpu": sum(os.times()[:4]) - begun}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
