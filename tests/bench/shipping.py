"""Measures delivery speed against MLflow's own `log_batch` with 1000 points a call.

    python shipping.py ours,raw | raw,ours | all | thin STEPS

The first two store the same points at MLFLOW_TRACKING_URI in both ways, in this order, from a
process that has already stored some there. lrtrack also creates the run, its tags and its columnar
file. The other two deliver steps of 1 ms to W&B, offline, with `wandb_rows` as they say.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import processes
import synthetic_runs
from results import Row, measured_row

METRICS = 3
#: Steps of 1 ms in a minute.
MINUTE = 60_000
#: The share of the steps that are asked for, which a store takes within two seconds.
_SHARE = 0.5
#: Steps that are stored first, because the first calls take longer.
WARM_UP = 400


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns a row for each store, and two for the rows in W&B's charts."""
    steps = max(1, round(_SHARE * steps))
    few = max(1, rounds // 3)  # a count, which is the same each time
    rows = _chart_rows(processes.in_rounds(few, ("all", "thin"), _minute))
    with processes.place() as folder:
        where = f"sqlite:///{processes.empty_store(folder)}"
        rows.append(_row("SQLite", steps, _rounds(folder, where, rounds, steps)))
        with processes.mlflow_server(folder, where) as uri:
            name = "`mlflow server` on SQLite"
            rows.append(_row(name, steps, _rounds(folder, uri, rounds, steps)))
    with processes.place() as folder, processes.postgres() as database:
        note = "PostgreSQL is not installed here"
        if database is None:
            return [*rows, Row("shipper / raw `log_batch`, PostgreSQL", "not measured", note=note)]
        with processes.mlflow_server(folder, database) as uri:
            for name, where in (("PostgreSQL", database), ("`mlflow server` on PostgreSQL", uri)):
                rows.append(_row(name, steps, _rounds(folder, where, rounds, steps)))
    return rows


def _chart_rows(rounds: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Returns the rows of what `_minute` returned, by way."""
    rows, took = (
        {way: statistics.median(each[way][figure] for each in rounds) for way in rounds[0]}
        for figure in ("rows", "cpu")
    )
    what = 'W&B, offline: {} of the first minute of 1 ms steps, `wandb_rows="thin"` / `"all"`'
    thin, whole = (took[way] / MINUTE * 1e6 for way in ("thin", "all"))
    return [
        Row(what.format("rows"), f"{rows['thin']:,.0f} / {rows['all']:,.0f}", "≤ 2,100",
            rows["thin"] <= 2_100, f"{METRICS} metrics; a count, {len(rounds)} times"),
        measured_row(what.format("processor time"),
                     [each["thin"]["cpu"] / each["all"]["cpu"] for each in rounds], digits=2,
                     how=f"{thin:.0f} µs and {whole:.0f} µs a step, start and end of the run "
                     "included"),
    ]  # fmt: skip


def _minute(way: str) -> dict[str, float]:
    with processes.place() as folder:
        told = (Path(__file__), way, MINUTE)
        return dict(processes.python(*told, folder=folder, WANDB_API_KEY="0" * 40).found)


def _rounds(folder: Path, uri: str, rounds: int, steps: int) -> list[dict[str, float]]:
    """Returns seconds by way, of each round."""
    found = []
    for number in range(rounds):
        order = ",".join(random.sample(("ours", "raw"), 2))
        with tempfile.TemporaryDirectory(dir=folder) as own:
            told = (Path(__file__), order, steps)
            found.append(processes.python(*told, folder=Path(own), MLFLOW_TRACKING_URI=uri).found)
        print(f"  round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return found


def _row(name: str, steps: int, rounds: Sequence[Mapping[str, float]]) -> Row:
    points = steps * METRICS
    ours, raw = (points / statistics.median(e[way] for e in rounds) for way in ("ours", "raw"))
    return measured_row(
        f"shipper: points a second / raw `log_batch`, {name}",
        [each["raw"] / each["ours"] for each in rounds],
        0.9,
        at_least=True,
        digits=2,
        how=f"{ours:,.0f} against {raw:,.0f} points a second; {points:,} points",
    )


def main(way: str, steps: int) -> dict[str, float]:
    """Delivers and prints how long it took."""
    if way in ("all", "thin"):
        return _wandb(way, steps)
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("bench")
    number = experiment.experiment_id if experiment else client.create_experiment("bench")
    _raw(client, number, WARM_UP)
    deliver = {"ours": _ours, "raw": _raw}
    return {each: deliver[each](client, number, steps) for each in way.split(",")}


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
    registry.get("wandb").end_processes()  # whose processor time counts once they have ended
    return {"rows": sum(sizes), "cpu": sum(os.times()[:4]) - begun}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
