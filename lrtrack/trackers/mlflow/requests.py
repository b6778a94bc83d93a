"""Writes to a run in requests of the sizes that MLflow accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lrtrack._optional import load
from lrtrack.trackers.mlflow.stored_points import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
