"""Finding the MLflow run of a block, or creating it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtrack._optional import load
from lrtrack.errors import TrackerError
from lrtrack.records import Run, Target
from lrtrack.trackers import shared_runs
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.views import experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient


def find_or_create(mlflow: MlflowClient, run: Run, target: Target) -> tuple[str, bool]:
    """Return the id of the MLflow run for `run`, and whether this call created it.

    Raises:
        TrackerError: the experiment is deleted.
    """
    experiment_id = _experiment(mlflow, target)
    # The run exists if an earlier attempt created it and ended before it could report the id, or
    # if an earlier phase of the same run created it.
    run_id = shared_runs.head(target) or run.id
    runs = mlflow.search_runs(
        [experiment_id], f"tags.`{metadata.RUN_ID}` = '{run_id}'", max_results=1
    )
    if runs:
        return str(runs[0].info.run_id), False
    tags = {
        "mlflow.source.name": run.source,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        metadata.RUN_ID: run_id,
    }
    if target.parent is not None:
        tags["mlflow.parentRunId"] = target.parent
    started = int(run.started * 1000)
    created = mlflow.create_run(experiment_id, started, tags, run.name)
    return str(created.info.run_id), True


def _experiment(mlflow: MlflowClient, target: Target) -> str:
    if target.experiment_id is not None:
        return target.experiment_id
    if target.parent is not None:
        return str(mlflow.get_run(target.parent).info.experiment_id)
    name = target.experiment or "lrtrack"
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:
        exceptions = load("mlflow.exceptions")
        try:
            return str(mlflow.create_experiment(name, tags=experiment_tags()))
        except exceptions.MlflowException:  # another process was faster
            experiment = mlflow.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise TrackerError(
            f"experiment {name!r} is deleted. Fix: restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`, then run `lrtrack sync`"
        )
    return str(experiment.experiment_id)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"
