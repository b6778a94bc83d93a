"""Keeping a report beside the runs that it is about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack.errors import TrackerError, warn
from lrtrack.settings import redact
from lrtrack.trackers.base import REPORT, Publication, Query, Remote
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.errors import patiently
from lrtrack.trackers.mlflow.reading import experiment_of, own_target
from lrtrack.trackers.mlflow.store import existing, page, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(publication: Publication, query: Query) -> Remote:
    """Put the report into the experiment's run of that name, and its words into the description.

    The run has no tag `lrtrack.version`, by which trainings are found, and so is never read as one.
    All of it may be done twice, and is, where an answer was lost.
    """
    uri = query.uri or own_target().uri
    mlflow = existing(uri)

    def begin() -> tuple[str, str]:
        experiment_id = str(experiment_of(mlflow, query).experiment_id)
        return experiment_id, _find_or_create(mlflow, experiment_id)

    def finish(stored: bool) -> None:
        mlflow.set_tag(run_id, metadata.NOTE, metadata.report_note(publication, stored=stored))
        mlflow.set_terminated(run_id, "FINISHED")

    with quiet():
        experiment_id, run_id = patiently(uri, begin)
        refusal = _store_files(mlflow, uri, run_id, publication)
        patiently(uri, lambda: finish(refusal is None))
    if refusal is not None:
        warn(
            f"The report is in the description of the MLflow run {run_id}, but its files are not "
            f"stored: {refusal}. Write them with --output."
        )
    return Remote(run_id, page(mlflow.tracking_uri, experiment_id, run_id))


def _store_files(
    mlflow: MlflowClient, uri: str | None, run_id: str, publication: Publication
) -> str | None:
    """Store the report's files; why the artifact store does not take them, None where it does."""
    with tempfile.TemporaryDirectory(prefix="lrtrack-") as folder:
        for name, content in publication.files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            patiently(uri, lambda: mlflow.log_artifacts(run_id, folder, publication.folder))
        except TrackerError as error:
            return str(error)
        except Exception as error:  # packages of artifact stores raise errors of their own
            return redact(repr(error))
    return None


def _find_or_create(mlflow: MlflowClient, experiment_id: str) -> str:
    wanted = f"tags.`{metadata.KIND}` = '{metadata.REPORT_KIND}'"
    found = mlflow.search_runs([experiment_id], wanted, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {metadata.KIND: metadata.REPORT_KIND, "mlflow.source.name": "lrtrack compare --publish"}
    run = mlflow.create_run(experiment_id, tags=tags, run_name=REPORT)
    return str(run.info.run_id)
