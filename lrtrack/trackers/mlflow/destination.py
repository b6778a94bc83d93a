"""The MLflow store and experiment that a run goes to: an active run, variables, or defaults."""

from __future__ import annotations

import os
import sys
from typing import Any

from lrtrack.records import Target
from lrtrack.redaction import bare_uri
from lrtrack.trackers.hooks import Place

NAME = "mlflow"


def active_run() -> Any:
    """The run that the user has open on this thread; None without one, or without MLflow."""
    module = sys.modules.get("mlflow")
    return module.active_run() if module is not None and hasattr(module, "active_run") else None


def current_uri() -> str | None:
    """The store that MLflow would use now, without credentials; None: MLflow's default."""
    # `get_tracking_uri` knows what `set_tracking_uri` has set. The default is left to MLflow, which
    # looks at the working directory for it.
    module = sys.modules.get("mlflow")
    if module is not None and hasattr(module, "is_tracking_uri_set"):
        uri = module.get_tracking_uri() if module.is_tracking_uri_set() else None
    else:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    return bare_uri(uri) if uri else None


def default_target(
    experiment: str | None = None, default: str = "lrtrack", uri: str | None = None
) -> Target:
    """The user's active run, else a new run in `experiment` or in MLflow's own default.

    Args:
        experiment: the name; None: as MLflow's variables say, else `default`.
        default: the name if nothing else names one.
        uri: the store; None: `current_uri()`.
    """
    uri = uri or current_uri()
    run = active_run()
    if run is not None:
        return Target(NAME, uri, run_id=run.info.run_id, joined=True)
    if os.environ.get("MLFLOW_RUN_ID"):  # `mlflow.start_run()` resumes it too, in a project
        return Target(NAME, uri, run_id=os.environ["MLFLOW_RUN_ID"], joined=True)
    return _new_target(uri, experiment, default)


def separate_target(experiment: str | None, default: str) -> Target:
    """A new run even if one is active; by default in the active run's experiment."""
    uri = current_uri()
    run = active_run()
    if run is not None and experiment is None:
        return Target(NAME, uri, experiment_id=run.info.experiment_id)
    return _new_target(uri, experiment, default)


def place_of(target: Target) -> Place | None:
    """The store and experiment of a run, as far as they are known without asking the store."""
    experiment = target.experiment or target.experiment_id
    run = active_run() if experiment is None else None
    if run is not None and run.info.run_id in (target.run_id, target.parent):
        experiment = run.info.experiment_id
    return None if experiment is None else Place(experiment, target.uri)


def _new_target(uri: str | None, experiment: str | None, default: str) -> Target:
    """A new run in `experiment`, else in the experiment that MLflow's variables name."""
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    number = None if name else os.environ.get("MLFLOW_EXPERIMENT_ID")
    return Target(NAME, uri, name or (None if number else default), number)
