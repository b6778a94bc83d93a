"""Reading an experiment back from MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from lrtrack.errors import NothingFound, unknown, warn
from lrtrack.fields import JSON
from lrtrack.filters import is_late, select
from lrtrack.journal import history_table
from lrtrack.journal.course import merge_tables
from lrtrack.records import History, Run
from lrtrack.redaction import bare_uri, redact
from lrtrack.trackers import cache, per_run, shared_runs
from lrtrack.trackers.base import ALL, Progress, Query
from lrtrack.trackers.mlflow import destination, logged_runs, metadata, search
from lrtrack.trackers.mlflow.description import integer_from, runs_from, state_of
from lrtrack.trackers.mlflow.served import served_page
from lrtrack.trackers.mlflow.step_points import (
    FILE,
    fetch_metrics,
    fetch_steps,
)
from lrtrack.trackers.mlflow.store import quiet, run_url
from lrtrack.trackers.mlflow.stores import open_store
from lrtrack.trackers.mlflow.stores.base import Experiment, Store, StoredRun

#: Concurrent requests; more would make a small server slower, not faster.
WORKERS = 8


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Read the runs that lrtrack wrote into an experiment, or all, newest first.

    Steps come from the columnar file if it is complete, else from the metric API, as do metrics
    that only the user logged. Those of runs that lrtrack did not record are read in bulk.
    """
    store = open_store(query.uri or destination.default_target().uri)
    try:
        experiment = find_experiment(store, query)
        runs = _runs(store, query, experiment)
        left_out = per_run.LeftOut()
        own = _Source(store, experiment.name, query, left_out)
        others = logged_runs.Source(store, experiment.name, query, left_out)

        def histories_of(stored: StoredRun) -> list[History]:
            if logged_runs.is_tracked(stored):
                return own.histories(stored)
            return [others.history(stored)]

        with quiet():
            try:
                for histories in per_run.read_each(
                    runs, histories_of, _label, left_out, workers=WORKERS, progress=progress
                ):
                    # What the rates show is only known now, and whether any run has a field of it.
                    everything = query.runs == ALL
                    yield from (
                        histories
                        if everything
                        else select(histories, query.filters, History.fields)
                    )
            finally:
                own.warn_about_broken_files()
    finally:
        store.close()
    cache.prune()


def _label(stored: StoredRun) -> str:
    return f"{stored.info.run_name!r} ({stored.info.run_id})"


def find_experiment(store: Store, query: Query) -> Experiment:
    """Find the query's experiment; by default the one that new runs would go to.

    Raises:
        NothingFound: there is none, or it is deleted.
    """
    target = destination.default_target()
    if query.experiment is None and query.uri is None:  # another store has other ids
        number = target.experiment_id
        if target.run_id is not None:
            number = store.experiment_of(target.run_id)
        if number is not None:
            experiment = store.experiment(number)
            if experiment is None:
                raise NothingFound(f"No experiment has the id {number} (MLflow: {_address(store)})")
            return experiment
    name = query.experiment or target.experiment or "lrtrack"
    experiment = store.experiment_named(name)
    if experiment is None and name.isdecimal():
        experiment = store.experiment(name)
    if experiment is None:
        names = [experiment.name for experiment in store.experiments()]
        raise NothingFound(f"{unknown('experiment', name, names)} (MLflow: {_address(store)})")
    if experiment.lifecycle_stage == "deleted":
        raise NothingFound(
            f"Experiment {name!r} is deleted (MLflow: {_address(store)}). Fix: restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`."
        )
    return experiment


def _runs(store: Store, query: Query, experiment: Experiment) -> list[StoredRun]:
    """The runs that the query's filters select."""
    everything = query.runs == ALL
    filters = [f for f in query.filters if not (everything and is_late(f))]
    expressions = search.expressions(filters, everything=everything)
    find = partial(store.runs, experiment.experiment_id, raw=query.raw_filters)
    runs = find(expressions)
    fields = partial(_fields, store.uri)
    # An empty result does not show whether no run has the field or no run has the value. `select`
    # finds out, if it sees all runs.
    if filters and not runs:
        runs = find(search.expressions((), everything=everything))
    blocks = [
        (stored, block)
        for stored in runs
        if not logged_runs.is_report(stored)
        for block in (
            runs_from(stored, experiment.name)
            if logged_runs.is_tracked(stored)
            else [logged_runs.run_from(stored, experiment.name, query.roles)]
        )
    ]
    selected = select(blocks, filters, fields)
    return list({stored.info.run_id: stored for stored, _ in selected}.values())


def _fields(uri: str, block: tuple[StoredRun, Run]) -> dict[str, JSON]:
    info, run = block[0].info, block[1]
    return run.fields(
        run_id=info.run_id,
        state=str(shared_runs.state_of(run, state_of(info.status))),
        tracker="mlflow",
        url=run_url(uri, info.experiment_id, info.run_id),
    )


def _address(store: Store) -> str:
    return bare_uri(store.uri)


@dataclass(frozen=True)
class _Source:
    """Fetches histories from one store, and remembers which columnar files it could not use."""

    store: Store
    experiment: str
    query: Query
    left_out: per_run.LeftOut
    broken: list[str] = field(default_factory=list)

    def histories(self, stored: StoredRun) -> list[History]:
        """Fetch one run with its steps: a history for each of its blocks."""
        info = stored.info
        runs = runs_from(stored, self.experiment)
        run = runs[0]
        arrays = self._arrays(stored, run)
        logged = [
            metric
            for metric in dict.fromkeys((self.query.metric, self.query.axis))
            if metric is not None
            and metric in stored.data.metrics  # the user logged it
            and metric not in arrays["metrics"]
        ]
        if logged:
            table = fetch_metrics(self.store.points, info.run_id, logged)
            table = self._without_odd_rows(stored, table)
            arrays = history_table.arrays(merge_tables(history_table.table_of(arrays), table))
        prefixes, uri = [block.prefix for block in runs], self.store.uri
        return [
            per_run.checked(
                History(
                    block,
                    shared_runs.state_of(block, state_of(info.status)),
                    "mlflow",
                    **shared_runs.arrays_of_block(arrays, block.prefix, prefixes),
                    url=run_url(uri, info.experiment_id, info.run_id),
                    ended=(
                        per_run.moment(info.end_time / 1000, run.started) if info.end_time else None
                    ),
                    remote_id=info.run_id,
                    served=served_page(uri, info.experiment_id, info.run_id),
                )
            )
            for block in runs
        ]

    def warn_about_broken_files(self) -> None:
        """Warn once about all columnar files that could not be used: there may be many."""
        if self.broken:
            others = f" (and {len(self.broken) - 1} more)" if len(self.broken) > 1 else ""
            warn(f"{redact(self.broken[0])}{others}; reading its metrics one by one")

    def _arrays(self, stored: StoredRun, run: Run) -> dict[str, Any]:
        """Get a run's steps from the cache, its columnar file or, failing both, the metric API."""
        rows = integer_from(stored.data.tags.get(metadata.HISTORY_ROWS))
        if rows is None or stored.info.status in ("RUNNING", "SCHEDULED"):
            return self._from_metric_api(stored, run)
        info = stored.info
        state = (info.experiment_id, info.run_id, info.status, info.end_time, rows)
        copy = cache.place_of("mlflow", _address(self.store), *state)
        arrays = cache.kept(copy) if self.query.cache else None
        if arrays is not None:
            return arrays
        table = self._from_file(stored, rows)
        if table is None:
            return self._from_metric_api(stored, run)
        if self.query.cache:
            arrays = cache.keep(table, copy)
        return arrays or history_table.arrays(table)

    def _from_metric_api(self, stored: StoredRun, run: Run) -> dict[str, Any]:
        table = fetch_steps(self.store.points, stored, run.prefix)
        return history_table.arrays(self._without_odd_rows(stored, table))

    def _without_odd_rows(self, stored: StoredRun, table: pa.Table) -> pa.Table:
        """Drop rows whose step or time is negative or impossibly large."""
        valid, count = history_table.sound_rows(table)
        if count:
            self.left_out.note_rows(lambda: _label(stored), count, per_run.ODD_ROWS)
        return valid

    def _from_file(self, stored: StoredRun, rows: int) -> pa.Table | None:
        """Read the columnar file; None if it is missing, damaged or incomplete."""
        try:
            table = self.store.history(stored)
            if table.num_rows != rows:
                raise ValueError(f"has {table.num_rows} steps instead of {rows}")
        except Exception as error:  # each artifact store's package has its own exceptions
            reason = str(error).partition("\n")[0]
            self.broken.append(f"run {stored.info.run_id}: {FILE}: {reason}")
            return None
        return table


def status(uri: str | None) -> str:
    """Describe the store: its address and how many experiments it has.

    Raises:
        TrackerError: the store does not answer.
    """
    try:
        store = open_store(uri)
    except NothingFound as error:
        return str(error).partition(". Fix:")[0]
    try:
        count = len(store.experiments())
    finally:
        store.close()
    return f"{_address(store)} answers, {count} experiment{'' if count == 1 else 's'}"
