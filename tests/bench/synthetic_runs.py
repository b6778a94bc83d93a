"""Synthetic experiments of many runs, stored in real trackers in minutes instead of hours.

lrtrack's own sinks open, tag and close each run and store its columnar file. Only the single
points, of which a store takes a few thousand a second, are inserted into MLflow's tables by one
statement per run, because only `get_metric_history` reads them.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal import history_table
from lrtrack.records import Run, State, Target
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow.sink import MlflowSink
from lrtrack.trackers.wandb import metadata

#: The experiments of runs that lrtrack recorded, and of those that it did not.
EXPERIMENT, LOGGED = "laid", "logged"
METRICS = ("lr", "grad_norm", "loss")
SEEDS = 10
_STARTED = 1_700_000_000.0


def runs_of(count: int) -> Iterator[Run]:
    """Yields runs of `count / SEEDS` schedules, or of ten if there are more than a hundred."""
    schedules = max(1, min(10, count // SEEDS))
    for index in range(count):
        seed, kind = divmod(index, schedules)
        yield Run(
            id=f"{index:032x}",
            name=f"run-{index}",
            schedule=Schedule("PolynomialLR", {"power": float(1 + kind), "total_iters": 10_000}),
            optimizer={"name": "SGD", "lr": 0.1, "momentum": 0.9},
            experiment=EXPERIMENT,
            seed=seed,
            device_name="cpu",
            version="0",
            started=_STARTED + index,
            diagnoses=(),
        )


def history_of(run: Run, steps: int) -> pa.Table:
    """Returns plausible noise: a falling loss, a falling learning rate, and norms with spikes."""
    rng = np.random.default_rng(int(run.id, 16))
    at = np.arange(steps)
    power = float(run.schedule.params["power"])
    return pa.table(
        {
            "step": pa.array(at, pa.int64()),
            "time": run.started + at / (900 + rng.random()),
            "lr": 0.1 * (1 - at / steps) ** power,
            "grad_norm": 1 + rng.random(steps) + 40.0 * (rng.random(steps) < 0.0005),
            "loss": 2 * np.exp(-6 * at / steps) + 0.02 * power + 0.05 * rng.random(steps),
        }
    )


def lay_mlflow(uri: str, database: str | None, runs: int, steps: int) -> None:
    """Stores runs in MLflow at `uri`, and their points in the tables of `database`, if any."""
    target = Target("mlflow", uri, EXPERIMENT)
    with tempfile.TemporaryDirectory() as folder:
        for run in runs_of(runs):
            table = history_of(run, steps)
            path = Path(folder) / history_table.NAME
            history_table.write_parquet(table, path)
            sink = MlflowSink(run, target, None)
            remote = sink.open()
            sink.upload(path)
            sink.complete(run)
            summary = {"loss_final": 0.1, "loss_best": 0.05}
            sink.close(State.FINISHED, table["time"][-1].as_py(), summary)
            if database is not None:
                _points(database, remote.id, table)


def lay_logged(database: str, runs: int, steps: int) -> None:
    """Stores finished runs with the same points in a database of MLflow's, without lrtrack."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=database)
    experiment = client.create_experiment(LOGGED)
    for run in runs_of(runs):
        run_id = client.create_run(experiment, run_name=run.name).info.run_id
        client.log_param(run_id, "seed", run.seed)
        client.set_terminated(run_id)
        _points(database, run_id, history_of(run, steps))


def _points(database: str, run_id: str, table: pa.Table) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(database)
    stamps = (table["time"].to_numpy() * 1000).astype(np.int64).tolist()
    steps = table["step"].to_pylist()
    with engine.begin() as connection:
        for name in METRICS:
            values = table[name].to_pylist()
            rows = [
                {
                    "key": name,
                    "value": v,
                    "timestamp": t,
                    "step": s,
                    "run_uuid": run_id,
                    "is_nan": False,
                }
                for v, t, s in zip(values, stamps, steps, strict=True)
            ]
            for table_name, inserted in (("metrics", rows), ("latest_metrics", rows[-1:])):
                columns = map(sqlalchemy.column, rows[0])
                # An insert of SQLAlchemy's own sends many rows at once, where the database can.
                connection.execute(
                    sqlalchemy.insert(sqlalchemy.table(table_name, *columns)), inserted
                )
    engine.dispose()


def lay_wandb(server: Any, runs: int, steps: int) -> None:
    """Stores finished runs with their columnar files in the loopback W&B server."""
    from wandb_loopback.state import Run as Stored

    project = server.store.made_project(server.entity, EXPERIMENT)
    for run in runs_of(runs):
        table = history_of(run, steps)
        content = io.BytesIO()
        history_table.write_parquet(table, content)
        last = {name: table[name][-1].as_py() for name in METRICS}
        stored = Stored(server.entity, EXPERIMENT, run.id[-8:], run.name, "finished")
        stored.raw_config = json.loads(json.dumps({"lrtrack": {"value": metadata.config(run)}}))
        stored.summary = {**last, metadata.STEP: steps - 1}
        stored.files[f"{history_table.FOLDER}/{history_table.NAME}"] = content.getvalue()
        project.runs[stored.id] = stored
