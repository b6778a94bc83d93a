"""A run's steps as a table: out of its columnar file, or as the metric API has them."""

from __future__ import annotations

import math
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.reader import merge

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The columnar file below a run's artifacts.
FILE = f"{history_table.FOLDER}/{history_table.NAME}"
#: Run-level metrics, which no step has.
_OWN = ("loss_final", "loss_best")


def columnar(mlflow: MlflowClient, run_id: str, root: str = "") -> pa.Table:
    """The columnar file of a run.

    Args:
        root: where the run's artifacts are, if that is known.

    Raises:
        TrackerUnavailable: it is there, and cannot be had at present.
        Exception: what MLflow, or pyarrow, raises otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        if root and urlsplit(root).scheme in ("", "file", "mlflow-artifacts"):
            # MLflow's client asks for the run twice, and for its models, before each file.
            with suppress(Exception):  # then as MLflow does it, whose error counts
                fetch = load("mlflow.artifacts").download_artifacts
                uri = mlflow.tracking_uri
                path = fetch(artifact_uri=f"{root}/{FILE}", dst_path=folder, tracking_uri=uri)
                return history_table.read_parquet(Path(path))
        try:
            path = mlflow.download_artifacts(run_id, FILE, folder)
        except Exception as error:
            # Of any failure at all, MLflow says that there is no such file.
            if FILE in [file.path for file in mlflow.list_artifacts(run_id, history_table.FOLDER)]:
                raise TrackerUnavailable(f"{FILE} of run {run_id} does not arrive") from error
            raise
        return history_table.read_parquet(Path(path))


def stored(mlflow: MlflowClient, found: Any, prefix: str) -> pa.Table:
    """Every step of a run, as the metric API has it."""
    names = [name for name in found.data.metrics if not _run_level(name, prefix)]
    return from_api(mlflow, found.info.run_id, names)


def from_api(mlflow: MlflowClient, run_id: str, names: list[str]) -> pa.Table:
    """These metrics of a run, as the metric API has them."""
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for name in names:
        for metric in mlflow.get_metric_history(run_id, name):
            points.setdefault(metric.step, {})[name] = _infinite(metric.value)
            times.setdefault(metric.step, metric.timestamp / 1000)
    steps = sorted(points)
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([times[step] for step in steps], pa.float64()),
            **{n: pa.array([points[s].get(n) for s in steps], pa.float64()) for n in names},
        }
    )


def _infinite(value: float) -> float:
    # MLflow's SQL store keeps infinities as the largest number there is.
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def joined(table: pa.Table, extra: pa.Table) -> pa.Table:
    """Two tables of one run in one."""
    return merge([batch for part in (table, extra) for batch in part.to_batches()])


def _run_level(name: str, prefix: str) -> bool:
    # Other blocks of the same run have their own, under other prefixes.
    return name.startswith("system/") or name.removeprefix(prefix).rpartition("/")[2] in _OWN
