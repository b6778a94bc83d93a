"""Writes to a run in requests of the sizes that MLflow accepts."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack._optional import load
from lrtrack.errors import TrackerError
from lrtrack.journal import history_table
from lrtrack.redaction import redact
from lrtrack.trackers.mlflow.stored_points import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The system's errors for a directory that exists only on another machine.
_REFUSED_PATH = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
#: MLflow's limits for one `log_batch`.
METRICS, PARAMS, TAGS = 1000, 100, 100


def log_texts(
    client: MlflowClient, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    """Log params and tags, at most 100 in one request."""
    entities = load("mlflow.entities")
    all_params = [entities.Param(name, text) for name, text in params.items()]
    all_tags = [entities.RunTag(name, text) for name, text in tags.items()]
    for at in range(0, len(all_params), PARAMS):
        client.log_batch(run_id, params=all_params[at : at + PARAMS])
    for at in range(0, len(all_tags), TAGS):
        client.log_batch(run_id, tags=all_tags[at : at + TAGS])


def log_points(client: MlflowClient, run_id: str, points: Sequence[Point]) -> None:
    """Log points of metrics, at most 1000 in one request."""
    metric = load("mlflow.entities").Metric
    for at in range(0, len(points), METRICS):
        batch = [metric(*point) for point in points[at : at + METRICS]]
        client.log_batch(run_id, metrics=batch)


def log_file(client: MlflowClient, run_id: str, path: Path, root: str) -> None:
    """Store a file among the run's artifacts, next to the columnar file.

    Args:
        client: a client of the store.
        run_id: MLflow's run id.
        path: the file.
        root: the URI of the run's artifacts.

    Raises:
        TrackerError: this machine cannot write the server's directory.
        Exception: any other error of MLflow or of the artifact store's package.
    """
    try:
        client.log_artifact(run_id, str(path), history_table.FOLDER)
    except OSError as error:
        if error.errno not in _REFUSED_PATH or not client.tracking_uri.startswith("http"):
            raise
        raise TrackerError(
            f"MLflow's server keeps artifacts in its own directory {redact(root)}, which this "
            f"machine cannot write: {error.strerror}. Fix: start the server with "
            "--serve-artifacts and --artifacts-destination, or make the directory writable here"
        ) from error
