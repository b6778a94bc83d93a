"""Storing a report in MLflow, beside the runs that it compares."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack.errors import TrackerError, warn
from lrtrack.redaction import redact
from lrtrack.trackers.base import REPORT, Publication, Query, Remote
from lrtrack.trackers.mlflow import destination, metadata
from lrtrack.trackers.mlflow.errors import with_retries
from lrtrack.trackers.mlflow.reading import find_experiment
from lrtrack.trackers.mlflow.store import open_existing, quiet, run_url
from lrtrack.trackers.mlflow.stores.client import ClientStore

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(publication: Publication, query: Query) -> Remote:
    """Store the report in the experiment's run `lrtrack report`, and its text in the description.

    The run has no tag `lrtrack.version`, by which training runs are found, so it is never read as
    one. Every request may be sent twice, and is sent again if an answer was lost.
    """
    uri = query.uri or destination.default_target().uri
    mlflow = open_existing(uri)
    store = ClientStore(mlflow, uri)

    def begin() -> tuple[str, str]:
        experiment_id = str(find_experiment(store, query).experiment_id)
        return experiment_id, _find_or_create(mlflow, experiment_id)

    def finish(stored: bool) -> None:
        mlflow.set_tag(run_id, metadata.NOTE, metadata.report_note(publication, stored=stored))
        mlflow.set_terminated(run_id, "FINISHED")

    with quiet():
        experiment_id, run_id = with_retries(uri, begin)
        failure = _store_files(mlflow, uri, run_id, publication)
        with_retries(uri, lambda: finish(failure is None))
    if failure is not None:
        warn(
            f"The report is in the description of the MLflow run {run_id}, but its files are not "
            f"stored: {failure}. Fix: write them to disk with --output."
        )
    return Remote(run_id, run_url(mlflow.tracking_uri, experiment_id, run_id))


def _store_files(
    mlflow: MlflowClient, uri: str | None, run_id: str, publication: Publication
) -> str | None:
    """Store the report's files; return why that failed, or None."""
    with tempfile.TemporaryDirectory(prefix="lrtrack-") as folder:
        for name, content in publication.files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            with_retries(uri, lambda: mlflow.log_artifacts(run_id, folder, publication.folder))
        except TrackerError as error:
            return str(error)
        except Exception as error:  # each artifact store's package has its own exceptions
            return redact(repr(error))
    return None


def _find_or_create(mlflow: MlflowClient, experiment_id: str) -> str:
    condition = f"tags.`{metadata.KIND}` = '{metadata.REPORT_KIND}'"
    runs = mlflow.search_runs([experiment_id], condition, max_results=1)
    if runs:
        return str(runs[0].info.run_id)
    tags = {metadata.KIND: metadata.REPORT_KIND, "mlflow.source.name": "lrtrack compare --publish"}
    run = mlflow.create_run(experiment_id, tags=tags, run_name=REPORT)
    return str(run.info.run_id)
