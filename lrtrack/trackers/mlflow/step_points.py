"""The steps of a run as a table, from its columnar file or from the metric API."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.reader import merge
from lrtrack.records import Rewind
from lrtrack.trackers.mlflow.shared_run import rewinds_by_prefix

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


def fetch_steps(mlflow: MlflowClient, mlflow_run: Any, prefix: str) -> pa.Table:
    """Fetch every step of a run from the metric API."""
    names = [name for name in mlflow_run.data.metrics if not _is_run_level(name, prefix)]
    rewinds = rewinds_by_prefix(mlflow_run.data.tags)
    return fetch_metrics(mlflow, mlflow_run.info.run_id, names, rewinds)


def surviving(points: Iterable[Any], rewinds: Sequence[Rewind]) -> list[Any]:
    """The points of a metric without those that were abandoned, in the order of their times."""
    kept = [p for p in points if not is_abandoned(rewinds, p.step, p.timestamp)]
    return sorted(kept, key=lambda point: point.timestamp)


def is_abandoned(rewinds: Iterable[Rewind], step: int, when: int) -> bool:
    """Whether a point of MLflow is abandoned; `when` is in whole milliseconds since the epoch."""
    return any(rewind.abandons(step, (when + 0.5) / 1000) for rewind in rewinds)


def fetch_metrics(
    mlflow: MlflowClient,
    run_id: str,
    names: list[str],
    rewinds: Mapping[str, Sequence[Rewind]] | None = None,
) -> pa.Table:
    """Fetch some metrics of a run from the metric API: the latest value of each step.

    Args:
        mlflow: a client of the store.
        run_id: MLflow's run id.
        names: the metrics.
        rewinds: those of each block, by the prefix of its metrics.
    """
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for name in names:
        prefix = max((p for p in rewinds or () if name.startswith(p)), key=len, default="")
        own = (rewinds or {}).get(prefix, ())
        for metric in surviving(mlflow.get_metric_history(run_id, name), own):
            points.setdefault(metric.step, {})[name] = _restore_infinity(metric.value)
            times.setdefault(metric.step, metric.timestamp / 1000)
    steps = sorted(points)
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([times[step] for step in steps], pa.float64()),
            **{n: pa.array([points[s].get(n) for s in steps], pa.float64()) for n in names},
        }
    )


def _restore_infinity(value: float) -> float:
    # MLflow's SQL store keeps infinities as the largest float64.
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def merge_tables(table: pa.Table, extra: pa.Table) -> pa.Table:
    """Merge two tables of one run."""
    return merge([batch for part in (table, extra) for batch in part.to_batches()])


def _is_run_level(name: str, prefix: str) -> bool:
    # Other blocks of the same run have theirs under other prefixes.
    return name.startswith("system/") or name.removeprefix(prefix).rpartition("/")[2] in _RUN_LEVEL
