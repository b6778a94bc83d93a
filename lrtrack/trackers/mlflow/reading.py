"""Reading an experiment back from MLflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lrtrack.errors import NothingFound, TrackerError, UsageError, unknown, warn
from lrtrack.journal.reader import merge
from lrtrack.records import History, Run, State
from lrtrack.schedules import JSON
from lrtrack.settings import redact
from lrtrack.trackers import columns
from lrtrack.trackers.base import Progress, Query
from lrtrack.trackers.mlflow import words
from lrtrack.trackers.mlflow.store import client, page, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Requests at a time; more makes a small server slower, not faster.
WORKERS = 8
_PAGE = 500
_STATES = {
    "FINISHED": State.FINISHED,
    "RUNNING": State.RUNNING,
    "SCHEDULED": State.RUNNING,
}
_OWN = ("loss_final", "loss_best")


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Histories of the runs that lrtrack wrote into an experiment, newest first.

    The columnar file is taken where it is whole; else, and for metrics that only the user
    logged, the metric API is asked.
    """
    uri = query.uri or _environment_uri()
    mlflow = client(uri, None)
    with translated(uri):
        runs = _runs(mlflow, query)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="lrtrack-read") as pool:
        waiting = [pool.submit(_history, mlflow, uri, query, run) for run in runs]
        try:
            for done, future in enumerate(waiting, 1):
                yield future.result()
                if progress is not None:
                    progress(done, len(runs))
        finally:
            for future in waiting:
                future.cancel()


def _environment_uri() -> str | None:
    from lrtrack.trackers.mlflow import MlflowTracker

    return MlflowTracker().target(None).uri


def _runs(mlflow: MlflowClient, query: Query) -> list[Any]:
    name = query.experiment or "lrtrack"
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:
        known = [found.name for found in mlflow.search_experiments()]
        raise NothingFound(f"{unknown('experiment', name, known)} (MLflow: {_shown(mlflow)})")
    wanted = " and ".join(["tags.`lrtrack.version` != ''", *query.filters])
    runs: list[Any] = []
    token = None
    while True:
        try:
            found = mlflow.search_runs(
                [experiment.experiment_id], wanted, max_results=_PAGE, page_token=token
            )
        except Exception as error:
            if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" and query.filters:
                raise UsageError(f"MLflow cannot read the filter: {error}") from error
            raise
        runs += found
        token = found.token
        if not token:
            return runs


def _shown(mlflow: MlflowClient) -> str:
    return redact(mlflow.tracking_uri)


def _history(mlflow: MlflowClient, uri: str | None, query: Query, found: Any) -> History:
    with translated(uri):
        run = run_from(found, query.experiment)
        table = _columnar(mlflow, found)
        if table is None:
            names = [n for n in found.data.metrics if not _run_level(n, run.prefix)]
            table = _from_api(mlflow, found.info.run_id, names)
        elif (
            query.metric is not None
            and query.metric in found.data.metrics  # logged by the user himself
            and query.metric not in table.column_names
        ):
            extra = _from_api(mlflow, found.info.run_id, [query.metric])
            table = _joined(table, extra)
    ended = found.info.end_time
    return History(
        run,
        _STATES.get(found.info.status, State.FAILED),
        "mlflow",
        **columns.arrays(table),
        url=page(mlflow.tracking_uri, found.info.experiment_id, found.info.run_id),
        ended=ended / 1000 if ended else None,
        remote_id=found.info.run_id,
    )


def status(uri: str | None) -> str:
    """Where the store is, and how many experiments it has.

    Raises:
        TrackerError: it does not answer.
    """
    mlflow = client(uri, None)
    with translated(uri):
        count = len(mlflow.search_experiments())
    return f"{_shown(mlflow)} answers, {count} experiments"


def run_from(found: Any, experiment: str | None) -> Run:
    """A run's identity out of its tags and params."""
    tags: Mapping[str, str] = found.data.tags
    params: Mapping[str, str] = found.data.params
    optimizer = {k[10:]: _value(v) for k, v in params.items() if k.startswith("optimizer.")}
    own = ("scheduler", "optimizer", "seed")
    config = {k: _value(v) for k, v in params.items() if k.partition(".")[0] not in own}
    return Run(
        id=tags.get(words.RUN_ID, found.info.run_id),
        name=found.info.run_name or "",
        schedule=words.schedule_from(tags),
        optimizer={"name": tags.get("lrtrack.optimizer.name", ""), **optimizer},
        experiment=experiment,
        group=tags.get("lrtrack.group"),
        seed=_integer(params.get("seed")),
        config=config,
        tags={k: v for k, v in tags.items() if not k.startswith(("lrtrack.", "mlflow."))},
        prefix=tags.get("lrtrack.prefix", ""),
        device_type=tags.get("lrtrack.device.type", ""),
        device_name=tags.get("lrtrack.device.name", ""),
        world_size=_integer(tags.get("lrtrack.world_size")) or 1,
        version=tags.get("lrtrack.version", ""),
        started=(found.info.start_time or 0) / 1000,
    )


def _columnar(mlflow: MlflowClient, found: Any) -> pa.Table | None:
    """The columnar file; None where it is missing, torn or not of the whole run."""
    rows = _integer(found.data.tags.get(words.HISTORY_ROWS))
    if rows is None or found.info.status in ("RUNNING", "SCHEDULED"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = mlflow.download_artifacts(
                found.info.run_id, f"{columns.FOLDER}/{columns.NAME}", folder
            )
            table = columns.read_parquet(Path(path))
        except (ValueError, OSError, TrackerError) as error:
            warn(f"run {found.info.run_id}: {error}; reading its metrics one by one")
            return None
    return table if table.num_rows == rows else None


def _from_api(mlflow: MlflowClient, run_id: str, names: list[str]) -> pa.Table:
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for name in names:
        for metric in mlflow.get_metric_history(run_id, name):
            points.setdefault(metric.step, {})[name] = metric.value
            times.setdefault(metric.step, metric.timestamp / 1000)
    steps = sorted(points)
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([times[step] for step in steps], pa.float64()),
            **{n: pa.array([points[s].get(n) for s in steps], pa.float64()) for n in names},
        }
    )


def _joined(table: pa.Table, extra: pa.Table) -> pa.Table:
    return merge([batch for part in (table, extra) for batch in part.to_batches()])


def _run_level(name: str, prefix: str) -> bool:
    return name.startswith("system/") or name in [prefix + own for own in _OWN]


def _value(text: str) -> JSON:
    """A param as it was before it became text, as far as that can be told."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
