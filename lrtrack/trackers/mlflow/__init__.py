"""MLflow: runs are written through `log_batch` and read back from a columnar file.

destination.py      the store and experiment that a run goes to
limits.py           what MLflow refuses whatever the server
client_settings.py  the variables and files that decide how MLflow's client connects
store.py            clients for a store: URIs, credentials, reachability
served.py           the pages of runs in a store without a server
lean_import.py      MLflow imported without pandas where only lrtrack uses it
errors.py           requests sent once, and MLflow's exceptions as temporary or final errors
throttle.py         a limit on the runs that write to one database at a time
names.py            names of metrics, params and tags
metadata.py         tags, params and the description of a run
views.py            tags of a new experiment, with saved views
sink.py             writing one run
requests.py         params, tags and metrics in requests of the sizes that MLflow accepts
run_lookup.py       finding or creating the MLflow run
shared_run.py       several blocks in one run
reading.py          reading an experiment
description.py      the description of a run, read back from its tags and params
search.py           filters in MLflow's search language
step_points.py      reading the steps of one run
logged_runs.py      runs that lrtrack did not record
points.py           their points, read in bulk
stores/             where runs are read from: SQLite, a server, or whatever MLflow's client knows
publishing.py       storing a report beside the runs
"""

from __future__ import annotations

from collections.abc import Iterator

from lrtrack.records import History, Run, Target
from lrtrack.redaction import bare_uri
from lrtrack.trackers.base import Progress, Publication, Query, Remote, Sink
from lrtrack.trackers.hooks import Place
from lrtrack.trackers.mlflow import destination, limits
from lrtrack.trackers.mlflow.client_settings import ACCESS


class MlflowTracker:
    """MLflow's tracking store, wherever `MLFLOW_TRACKING_URI` or MLflow's defaults say it is.

    Args:
        join: id of a run that another program created and will close, although it is not MLflow's
            active run; loggers of frameworks have such runs.
        uri: the store of that run; None: as above.
    """

    name = destination.NAME
    portable = True
    takes_shared_uri = True
    access = ACCESS

    def __init__(self, join: str | None = None, uri: str | None = None) -> None:
        self._join = join
        self._uri = bare_uri(uri) if uri else None

    def active(self) -> bool:
        """Whether `mlflow.start_run()` is open on this thread."""
        return destination.active_run() is not None

    def status(self) -> str:
        """The store that new runs would go to, and how many experiments it has."""
        from lrtrack.trackers.mlflow.reading import status

        return status(destination.current_uri())

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The user's active run, else a new run in `experiment` or in MLflow's own default.

        MLflow itself is asked only if the user has already imported it, to spare the training
        process the import.

        Raises:
            UsageError: MLflow refuses the store or the experiment's name, whatever the server.
        """
        uri = self._uri or destination.current_uri()
        if self._join is not None:
            return Target(self.name, uri, run_id=self._join, joined=True)
        return _accepted(destination.default_target(experiment, default, uri))

    def separate_target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """A new run even if one is active; by default in the active run's experiment."""
        return _accepted(destination.separate_target(experiment, default))

    def child_target(self, target: Target) -> Target:
        """A run nested in the open run of `target`; lrtrack opens and closes it."""
        return Target(self.name, target.uri, parent=target.run_id)

    def place_of(self, target: Target) -> Place | None:
        """The store and experiment of a run; of a run in the user's open one, the id of that."""
        return destination.place_of(target)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The sink that writes `run`."""
        from lrtrack.trackers.mlflow.sink import MlflowSink

        return MlflowSink(run, target, remote_id)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the runs of an experiment, newest first."""
        from lrtrack.trackers.mlflow.reading import read

        return read(query, progress)

    def publish(self, publication: Publication, query: Query) -> Remote:
        """Store a report among the artifacts of the experiment's run `lrtrack report`."""
        from lrtrack.trackers.mlflow.publishing import publish

        return publish(publication, query)


def _accepted(target: Target) -> Target:
    """The target, unless MLflow would refuse it; what the user's own run uses is accepted."""
    if not target.joined:
        limits.check_store(target.uri)
        limits.check_experiment(target.experiment)
    return target
