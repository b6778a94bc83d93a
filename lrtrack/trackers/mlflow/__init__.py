"""MLflow: written to through `log_batch`, read back through the columnar file.

words.py       tags, params, the description: what people see of a run
views.py       what they see of an experiment
access.py      which variables and files decide how a server is reached, and as whom
store.py       finding the store: URIs, credentials, clients
refusals.py    sending each request once, and telling later from never
turns.py       waiting for a database that others write to
sink.py        writing one run
blocks.py      several blocks in one run
reading.py     reading an experiment
steps.py       reading one run's steps
publishing.py  keeping a report beside the runs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from lrtrack.records import History, Run, Target
from lrtrack.settings import redact
from lrtrack.trackers.base import Progress, Publication, Query, Remote, Sink
from lrtrack.trackers.mlflow.client_settings import ACCESS


class MlflowTracker:
    """MLflow's tracking store, wherever `MLFLOW_TRACKING_URI` or MLflow's defaults say it is.

    Args:
        join: id of a run that somebody else has made and will close, though it is not MLflow's
            active one: what loggers of frameworks have.
        uri: the store that has it; None: as above.
    """

    name = "mlflow"
    portable = True
    takes_shared_uri = True
    access = ACCESS

    def __init__(self, join: str | None = None, uri: str | None = None) -> None:
        self._join = join
        self._uri = redact(uri) if uri else None

    def active(self) -> bool:
        """Whether `mlflow.start_run()` is open on this thread."""
        return active_run() is not None

    def status(self) -> str:
        """The store that new runs would go to, and how many experiments it has."""
        from lrtrack.trackers.mlflow.reading import status

        return status(_current_uri(sys.modules.get("mlflow")))

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The user's active run, else a new run in `experiment` or where MLflow itself would go.

        MLflow is only asked where the user has imported it already: the training process need
        not pay for the import.
        """
        module = sys.modules.get("mlflow")
        uri = self._uri or _current_uri(module)
        if self._join is not None:
            return Target(self.name, uri, run_id=self._join, joined=True)
        run = active_run()
        if run is not None:
            return Target(self.name, uri, run_id=run.info.run_id, joined=True)
        if os.environ.get("MLFLOW_RUN_ID"):  # as `mlflow.start_run()` would, in a project
            return Target(self.name, uri, run_id=os.environ["MLFLOW_RUN_ID"], joined=True)
        return _new(self.name, uri, experiment, default)

    def separate_target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """A new run whatever is active; without a word of the experiment, in the active run's."""
        uri = _current_uri(sys.modules.get("mlflow"))
        run = active_run()
        if run is not None and experiment is None:
            return Target(self.name, uri, experiment_id=run.info.experiment_id)
        return _new(self.name, uri, experiment, default)

    def child_target(self, target: Target) -> Target:
        """A run nested in the open one of `target`, which lrtrack opens and closes."""
        return Target(self.name, target.uri, parent=target.run_id)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half for `run`."""
        from lrtrack.trackers.mlflow.sink import MlflowSink

        return MlflowSink(run, target, remote_id)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read an experiment's runs that lrtrack wrote, newest first."""
        from lrtrack.trackers.mlflow.reading import read

        return read(query, progress)

    def publish(self, publication: Publication, query: Query) -> Remote:
        """Put a report among the artifacts of the experiment's run `lrtrack report`."""
        from lrtrack.trackers.mlflow.publishing import publish

        return publish(publication, query)


def active_run() -> Any:
    """The run that the user has open on this thread; None without one, or without MLflow."""
    module = sys.modules.get("mlflow")
    return module.active_run() if module is not None and hasattr(module, "active_run") else None


def _new(tracker: str, uri: str | None, experiment: str | None, default: str) -> Target:
    """A new run in `experiment`, or where MLflow's own variables say."""
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    number = None if name else os.environ.get("MLFLOW_EXPERIMENT_ID")
    return Target(tracker, uri, name or (None if number else default), number)


def _current_uri(module: Any) -> str | None:
    # `get_tracking_uri` knows what `set_tracking_uri` said; None leaves the default to MLflow,
    # which has to look at the working directory for it.
    if module is not None and hasattr(module, "is_tracking_uri_set"):
        uri = module.get_tracking_uri() if module.is_tracking_uri_set() else None
    else:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    return redact(uri) if uri else None
