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
from lrtrack.redaction import bare_uri
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import UNKNOWN
from lrtrack.trackers import cache, per_run
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.description import state_of, user_tags
from lrtrack.trackers.mlflow.points import SYSTEM
from lrtrack.trackers.mlflow.served import served_page
from lrtrack.trackers.mlflow.store import run_url

if TYPE_CHECKING:
    from lrtrack.trackers.mlflow.stores.base import Store, StoredRun


def is_tracked(stored: StoredRun) -> bool:
    """Whether lrtrack recorded the run."""
    return bool(stored.data.tags.get("lrtrack.version"))


def is_report(stored: StoredRun) -> bool:
    """Whether the run holds published reports."""
    return bool(stored.data.tags.get(metadata.KIND) == metadata.REPORT_KIND)


def run_from(stored: StoredRun, experiment: str, roles: Roles) -> Run:
    """The identity of a run, before its learning rates are read."""
    return run_of(_logged(stored, experiment, None), Schedule(UNKNOWN), roles)[0]


@dataclass(frozen=True)
class Source:
    """Fetches histories of such runs from one store; safe to use from several threads.

    Attributes:
        store: where the runs are.
        experiment: the experiment's name.
    """

    store: Store
    experiment: str
    query: Query
    left_out: per_run.LeftOut

    def history(self, stored: StoredRun) -> History:
        """Fetch one run with all its metrics, except those of the machine.

        Raises:
            OddRun: its learning rates are none.
        """
        info = stored.info
        url = run_url(self.store.uri, info.experiment_id, info.run_id)
        served = served_page(self.store.uri, info.experiment_id, info.run_id)
        logged = replace(_logged(stored, self.experiment, url), served=served)
        arrays = self._arrays(stored, logged)
        return per_run.checked(history_of(logged, arrays, self.query.roles))

    def _arrays(self, stored: StoredRun, logged: LoggedRun) -> Mapping[str, Any]:
        """Get a run's columns from the cache, else from the store."""
        copy = None
        if self.query.cache and logged.state is not State.RUNNING:
            copy = cache.place_of("mlflow", *self._identity(stored))
            arrays = cache.kept(copy)
            if arrays is not None:
                return arrays
        metrics = self._metrics(stored)
        columns, odd = aligned(metrics, self.query.roles)
        if odd:
            self.left_out.note_rows(lambda: f"{logged.name!r} ({logged.id})", odd, per_run.ODD_ROWS)
        elif copy is not None and columns.steps.size:
            return cache.keep(history_table.table_of(vars(columns)), copy) or vars(columns)
        return vars(columns)

    def _metrics(self, stored: StoredRun) -> dict[str, Series]:
        names = [name for name in stored.data.metrics if not name.startswith(SYSTEM)]
        return self.store.points(stored.info.run_id, names) if names else {}

    def _identity(self, stored: StoredRun) -> tuple[Any, ...]:
        """Everything that changes when the run changes, and what the user says about it."""
        info, data = stored.info, stored.data
        latest = [(p.key, p.step, p.timestamp, repr(p.value)) for p in data.latest]
        state = (info.experiment_id, info.run_id, info.status, info.end_time, latest)
        return ("logged", bare_uri(self.store.uri), self.query.roles.lr_metric, *state)


def _logged(stored: StoredRun, experiment: str, url: str | None) -> LoggedRun:
    """A run without its points."""
    info, data = stored.info, stored.data
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
