"""The steps of a run as a table, from its columnar file or from its metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.arrow_arrays import arrow_of
from lrtrack.records import Rewind
from lrtrack.records.alignment import Series
from lrtrack.trackers.mlflow.points import from_client
from lrtrack.trackers.mlflow.shared_run import rewinds_by_prefix

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lrtrack.trackers.mlflow.points import Points
    from lrtrack.trackers.mlflow.stores.base import StoredRun

#: The columnar file, relative to a run's artifacts.
FILE = f"{history_table.FOLDER}/{history_table.NAME}"
#: Run-level metrics, which belong to no step.
_RUN_LEVEL = ("loss_final", "loss_best")


def download_history(mlflow: MlflowClient, run_id: str, root: str = "") -> pa.Table:
    """Download and read the columnar file of a run.

    Args:
        mlflow: a client of the store.
        run_id: MLflow's run id.
        root: the URI of the run's artifacts, if it is known.

    Raises:
        TrackerUnavailable: the file exists but cannot be downloaded at present.
        Exception: any other error of MLflow or pyarrow.
    """
    with tempfile.TemporaryDirectory() as folder:
        if root and urlsplit(root).scheme in ("", "file", "mlflow-artifacts"):
            # With a run id, MLflow requests the run twice, and its models, before each file.
            with suppress(Exception):  # the call with the run id below reports the error
                fetch = load("mlflow.artifacts").download_artifacts
                uri = mlflow.tracking_uri
                path = fetch(artifact_uri=f"{root}/{FILE}", dst_path=folder, tracking_uri=uri)
                return history_table.read_parquet(Path(path))
        try:
            path = mlflow.download_artifacts(run_id, FILE, folder)
        except Exception as error:
            # MLflow reports any failure at all as a missing file.
            if FILE in [file.path for file in mlflow.list_artifacts(run_id, history_table.FOLDER)]:
                raise TrackerUnavailable(f"{FILE} of run {run_id} cannot be downloaded") from error
            raise
        return history_table.read_parquet(Path(path))


def fetch_steps(read: Points, run: StoredRun, prefix: str) -> pa.Table:
    """Fetch every step of a run from its metrics.

    Args:
        read: reads points of the run's store.
        run: the run, of a store or of MLflow's client.
        prefix: that of the block's metrics.
    """
    names = [name for name in run.data.metrics if not _is_run_level(name, prefix)]
    return fetch_metrics(read, run.info.run_id, names, rewinds_by_prefix(run.data.tags))


def steps_by_client(mlflow: MlflowClient, mlflow_run: Any, prefix: str) -> pa.Table:
    """The same by MLflow's client, metric by metric."""
    return fetch_steps(partial(from_client, mlflow), mlflow_run, prefix)


def surviving(points: Iterable[Any], rewinds: Sequence[Rewind]) -> list[Any]:
    """The points of a metric without those that were abandoned, in the order of their times."""
    kept = [p for p in points if not is_abandoned(rewinds, p.step, p.timestamp)]
    return sorted(kept, key=lambda point: point.timestamp)


def is_abandoned(rewinds: Iterable[Rewind], step: int, when: int) -> bool:
    """Whether a point of MLflow is abandoned; `when` is in whole milliseconds since the epoch."""
    return any(rewind.abandons(step, (when + 0.5) / 1000) for rewind in rewinds)


def fetch_metrics(
    read: Points,
    run_id: str,
    names: list[str],
    rewinds: Mapping[str, Sequence[Rewind]] | None = None,
) -> pa.Table:
    """Fetch some metrics of a run: the latest value of each step.

    Args:
        read: reads points of the run's store.
        run_id: MLflow's run id.
        names: the metrics.
        rewinds: those of each block, by the prefix of its metrics.
    """
    series = read(run_id, names)
    kept: dict[str, Series] = {}
    for name in names:
        prefix = max((p for p in rewinds or () if name.startswith(p)), key=len, default="")
        if name in series:
            kept[name] = _surviving_points(series[name], (rewinds or {}).get(prefix, ()))
    empty = np.empty(0, np.int64)
    steps = np.unique(np.concatenate([empty, *(part.steps for part in kept.values())]))
    times = np.full(steps.size, np.nan)
    columns = {name: pa.nulls(steps.size, pa.float64()) for name in names}
    for name, part in kept.items():
        at = np.searchsorted(steps, part.steps)
        values = np.full(steps.size, np.nan)
        values[at] = part.values  # of several at one step, the last one stays
        is_present = np.zeros(steps.size, dtype=bool)
        is_present[at] = True
        columns[name] = arrow_of(values, is_present)
        first = np.full(steps.size, np.nan)
        first[at[::-1]] = part.times[::-1]
        times = np.where(np.isnan(times), first, times)
    return pa.table({"step": arrow_of(steps), "time": arrow_of(times), **columns})


def _surviving_points(points: Series, rewinds: Sequence[Rewind]) -> Series:
    """The points of a metric without those that were abandoned."""
    is_kept = np.ones(points.steps.size, dtype=bool)
    for rewind in rewinds:
        # As in `is_abandoned`: MLflow keeps whole milliseconds.
        is_kept &= (points.steps < rewind.step) | (points.times + 0.0005 >= rewind.time)
    if is_kept.all():
        return points
    return Series(points.steps[is_kept], points.values[is_kept], points.times[is_kept])


def _is_run_level(name: str, prefix: str) -> bool:
    # Other blocks of the same run have theirs under other prefixes.
    return name.startswith("system/") or name.removeprefix(prefix).rpartition("/")[2] in _RUN_LEVEL
