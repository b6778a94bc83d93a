"""Runs in MLflow that lrtrack did not record: autologged, by other integrations, or by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lrtrack.journal import history_table
from lrtrack.records import History, Run, State
from lrtrack.records.alignment import Series
from lrtrack.records.logged import LoggedRun, aligned, history_of, run_of
from lrtrack.records.roles import Roles
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import UNKNOWN
from lrtrack.settings import redact
from lrtrack.trackers import cache, per_run
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.description import state_of, user_tags
from lrtrack.trackers.mlflow.errors import with_retries
from lrtrack.trackers.mlflow.points import SYSTEM, Points
from lrtrack.trackers.mlflow.served import served_page
from lrtrack.trackers.mlflow.store import run_url

if TYPE_CHECKING:
    from mlflow import MlflowClient


def is_tracked(mlflow_run: Any) -> bool:
    """Whether lrtrack recorded the run."""
    return bool(mlflow_run.data.tags.get("lrtrack.version"))


def is_report(mlflow_run: Any) -> bool:
    """Whether the run holds published reports."""
    return bool(mlflow_run.data.tags.get(metadata.KIND) == metadata.REPORT_KIND)


def run_from(mlflow_run: Any, experiment: str, roles: Roles) -> Run:
    """The identity of a run, before its learning rates are read."""
    return run_of(_logged(mlflow_run, experiment, None), Schedule(UNKNOWN), roles)[0]


@dataclass(frozen=True)
class Source:
    """Fetches histories of such runs from one store; safe to use from several threads.

    Attributes:
        uri: the store's address, for messages.
        experiment: the experiment's name.
        points: reads all points of a run.
    """

    mlflow: MlflowClient
    uri: str | None
    experiment: str
    query: Query
    left_out: per_run.LeftOut
    points: Points

    def history(self, mlflow_run: Any) -> History:
        """Fetch one run with all its metrics, except those of the machine.

        Raises:
            OddRun: its learning rates are none.
        """
        info = mlflow_run.info
        url = run_url(self.mlflow.tracking_uri, info.experiment_id, info.run_id)
        served = served_page(self.mlflow.tracking_uri, info.experiment_id, info.run_id)
        logged = replace(_logged(mlflow_run, self.experiment, url), served=served)
        arrays = self._arrays(mlflow_run, logged)
        return per_run.checked(history_of(logged, arrays, self.query.roles))

    def _arrays(self, mlflow_run: Any, logged: LoggedRun) -> Mapping[str, Any]:
        """Get a run's columns from the cache, else from the store."""
        copy = None
        if self.query.cache and logged.state is not State.RUNNING:
            copy = cache.place_of("mlflow", *self._identity(mlflow_run))
            arrays = cache.kept(copy)
            if arrays is not None:
                return arrays
        metrics = self._metrics(mlflow_run)
        columns, odd = aligned(metrics, self.query.roles)
        if odd:
            self.left_out.note_rows(lambda: f"{logged.name!r} ({logged.id})", odd, per_run.ODD_ROWS)
        elif copy is not None and columns.steps.size:
            cache.keep(history_table.table_of(vars(columns)), copy)
            return cache.kept(copy) or vars(columns)
        return vars(columns)

    def _metrics(self, mlflow_run: Any) -> dict[str, Series]:
        names = [name for name in mlflow_run.data.metrics if not name.startswith(SYSTEM)]
        run_id = mlflow_run.info.run_id
        return with_retries(self.uri, lambda: self.points(run_id, names)) if names else {}

    def _identity(self, mlflow_run: Any) -> tuple[Any, ...]:
        """Everything that changes when the run changes, and what the user says about it."""
        info, data = mlflow_run.info, mlflow_run.data
        latest: list[tuple[Any, ...]] = [
            (metric.key, metric.step, metric.timestamp, repr(metric.value))
            for metric in getattr(data, "_metric_objs", ())
        ] or [(name, repr(value)) for name, value in data.metrics.items()]
        state = (info.experiment_id, info.run_id, info.status, info.end_time, sorted(latest))
        return ("logged", redact(self.mlflow.tracking_uri), self.query.roles.lr_metric, *state)


def _logged(mlflow_run: Any, experiment: str, url: str | None) -> LoggedRun:
    """A run without its points."""
    info, data = mlflow_run.info, mlflow_run.data
    started = per_run.moment((info.start_time or 0) / 1000)
    return LoggedRun(
        id=info.run_id,
        name=info.run_name or "",
        tracker="mlflow",
        state=state_of(info.status),
        experiment=experiment,
        url=url,
        started=started,
        ended=per_run.moment(info.end_time / 1000, started) if info.end_time else None,
        params=data.params,
        tags=user_tags(data.tags),
    )
