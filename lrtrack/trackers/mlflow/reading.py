"""Reading an experiment back from MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lrtrack.errors import NothingFound, UsageError, unknown, warn
from lrtrack.fields import JSON
from lrtrack.filters import is_late, select
from lrtrack.journal import history_table
from lrtrack.records import History, Run
from lrtrack.settings import redact
from lrtrack.trackers import cache, per_run, shared_runs
from lrtrack.trackers.base import ALL, Progress, Query
from lrtrack.trackers.mlflow import destination, logged_runs, metadata, points, search
from lrtrack.trackers.mlflow.description import integer_from, runs_from, state_of
from lrtrack.trackers.mlflow.errors import translate_errors, with_retries
from lrtrack.trackers.mlflow.served import served_page
from lrtrack.trackers.mlflow.step_points import (
    FILE,
    download_history,
    fetch_metrics,
    fetch_steps,
    merge_tables,
)
from lrtrack.trackers.mlflow.store import open_existing, quiet, run_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Concurrent requests; more would make a small server slower, not faster.
WORKERS = 8
_PAGE = 500


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Read the runs that lrtrack wrote into an experiment, or all, newest first.

    Steps come from the columnar file if it is complete, else from the metric API, as do metrics
    that only the user logged. Those of runs that lrtrack did not record are read in bulk.
    """
    uri = query.uri or destination.default_target().uri
    mlflow = open_existing(uri)
    experiment = with_retries(uri, lambda: find_experiment(mlflow, query))
    runs = with_retries(uri, lambda: _runs(mlflow, query, experiment))
    left_out = per_run.LeftOut()
    source = _Source(mlflow, uri, experiment.name, query, left_out)
    with quiet(), points.opened(mlflow) as logged_points:
        others = logged_runs.Source(mlflow, uri, experiment.name, query, left_out, logged_points)

        def histories_of(mlflow_run: Any) -> list[History]:
            own = logged_runs.is_tracked(mlflow_run)
            return source.histories(mlflow_run) if own else [others.history(mlflow_run)]

        try:
            for histories in per_run.read_each(
                runs, histories_of, _label, left_out, workers=WORKERS, progress=progress
            ):
                # What the rates show is only known now, and whether any run has a field of it.
                everything = query.runs == ALL
                yield from (
                    histories if everything else select(histories, query.filters, History.fields)
                )
        finally:
            source.warn_about_broken_files()
    cache.prune()


def _label(mlflow_run: Any) -> str:
    return f"{mlflow_run.info.run_name!r} ({mlflow_run.info.run_id})"


def find_experiment(mlflow: MlflowClient, query: Query) -> Any:
    """Find the query's experiment; by default the one that new runs would go to."""
    target = destination.default_target()
    if query.experiment is None and query.uri is None:  # another store has other ids
        number = target.experiment_id
        if target.run_id is not None:
            number = mlflow.get_run(target.run_id).info.experiment_id
        if number is not None:
            return mlflow.get_experiment(number)
    name = query.experiment or target.experiment or "lrtrack"
    experiment = mlflow.get_experiment_by_name(name) or _experiment_with_id(mlflow, name)
    if experiment is None:
        names = [experiment.name for experiment in mlflow.search_experiments()]
        raise NothingFound(f"{unknown('experiment', name, names)} (MLflow: {_address(mlflow)})")
    if experiment.lifecycle_stage == "deleted":
        raise NothingFound(
            f"Experiment {name!r} is deleted (MLflow: {_address(mlflow)}). Fix: restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`."
        )
    return experiment


def _experiment_with_id(mlflow: MlflowClient, text: str) -> Any:
    """The experiment that has this id; None without one."""
    if not text.isdecimal():
        return None
    try:
        return mlflow.get_experiment(text)
    except Exception as error:
        if getattr(error, "error_code", "") in (
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        ):
            return None
        raise


def _runs(mlflow: MlflowClient, query: Query, experiment: Any) -> list[Any]:
    """The runs that the query's filters select."""
    everything = query.runs == ALL
    filters = [f for f in query.filters if not (everything and is_late(f))]
    expressions = search.expressions(filters, everything=everything)
    find = partial(_search, mlflow, experiment.experiment_id, raw=query.raw_filters)
    runs = find(expressions)
    fields = partial(_fields, mlflow)
    # An empty result does not show whether no run has the field or no run has the value. `select`
    # finds out, if it sees all runs.
    if filters and not runs:
        runs = find(search.expressions((), everything=everything))
    blocks = [
        (mlflow_run, block)
        for mlflow_run in runs
        if not logged_runs.is_report(mlflow_run)
        for block in (
            runs_from(mlflow_run, experiment.name)
            if logged_runs.is_tracked(mlflow_run)
            else [logged_runs.run_from(mlflow_run, experiment.name, query.roles)]
        )
    ]
    selected = select(blocks, filters, fields)
    return list({mlflow_run.info.run_id: mlflow_run for mlflow_run, _ in selected}.values())


def _fields(mlflow: MlflowClient, block: tuple[Any, Run]) -> dict[str, JSON]:
    info, run = block[0].info, block[1]
    return run.fields(
        run_id=info.run_id,
        state=str(shared_runs.state_of(run, state_of(info.status))),
        tracker="mlflow",
        url=run_url(mlflow.tracking_uri, info.experiment_id, info.run_id),
    )


def _search(
    mlflow: MlflowClient, experiment_id: str, expressions: Sequence[str], raw: Sequence[str]
) -> list[Any]:
    condition = " and ".join([*expressions, *raw])
    runs: list[Any] = []
    token = None
    while True:
        try:
            page = mlflow.search_runs(
                [experiment_id], condition, max_results=_PAGE, page_token=token
            )
        except Exception as error:
            if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" and raw:
                raise UsageError(
                    f"MLflow cannot read the --filter-raw: {error}. Fix: write it in MLflow's "
                    'search language, for example "metrics.loss_final < 0.6".'
                ) from error
            raise
        runs += page
        token = page.token
        if not token:
            return runs


def _address(mlflow: MlflowClient) -> str:
    return redact(mlflow.tracking_uri)


@dataclass(frozen=True)
class _Source:
    """Fetches histories from one store, and remembers which columnar files it could not use."""

    mlflow: MlflowClient
    uri: str | None
    experiment: str
    query: Query
    left_out: per_run.LeftOut
    broken: list[str] = field(default_factory=list)

    def histories(self, mlflow_run: Any) -> list[History]:
        """Fetch one run with its steps: a history for each of its blocks."""
        info = mlflow_run.info
        runs = runs_from(mlflow_run, self.experiment)
        run = runs[0]
        arrays = self._arrays(mlflow_run, run)
        logged = [
            metric
            for metric in dict.fromkeys((self.query.metric, self.query.axis))
            if metric is not None
            and metric in mlflow_run.data.metrics  # the user logged it
            and metric not in arrays["metrics"]
        ]
        if logged:
            table = with_retries(self.uri, lambda: fetch_metrics(self.mlflow, info.run_id, logged))
            table = self._without_odd_rows(mlflow_run, table)
            arrays = history_table.arrays(merge_tables(history_table.table_of(arrays), table))
        prefixes, uri = [block.prefix for block in runs], self.mlflow.tracking_uri
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

    def _arrays(self, mlflow_run: Any, run: Run) -> dict[str, Any]:
        """Get a run's steps from the cache, its columnar file or, failing both, the metric API."""
        rows = integer_from(mlflow_run.data.tags.get(metadata.HISTORY_ROWS))
        if rows is None or mlflow_run.info.status in ("RUNNING", "SCHEDULED"):
            return self._from_metric_api(mlflow_run, run)
        info = mlflow_run.info
        state = (info.experiment_id, info.run_id, info.status, info.end_time, rows)
        copy = cache.place_of("mlflow", _address(self.mlflow), *state)
        arrays = cache.kept(copy) if self.query.cache else None
        if arrays is not None:
            return arrays
        table = self._from_file(mlflow_run, rows)
        if table is None:
            return self._from_metric_api(mlflow_run, run)
        if self.query.cache:
            cache.keep(table, copy)
            arrays = cache.kept(copy)
        return arrays or history_table.arrays(table)

    def _from_metric_api(self, mlflow_run: Any, run: Run) -> dict[str, Any]:
        table = with_retries(self.uri, lambda: fetch_steps(self.mlflow, mlflow_run, run.prefix))
        return history_table.arrays(self._without_odd_rows(mlflow_run, table))

    def _without_odd_rows(self, mlflow_run: Any, table: pa.Table) -> pa.Table:
        """Drop rows whose step or time is negative or impossibly large."""
        valid, count = history_table.sound_rows(table)
        if count:
            self.left_out.note_rows(lambda: _label(mlflow_run), count, per_run.ODD_ROWS)
        return valid

    def _from_file(self, mlflow_run: Any, rows: int) -> pa.Table | None:
        """Read the columnar file; None if it is missing, damaged or incomplete."""
        run_id, root = mlflow_run.info.run_id, mlflow_run.info.artifact_uri
        try:
            table = with_retries(self.uri, lambda: download_history(self.mlflow, run_id, root))
            if table.num_rows != rows:
                raise ValueError(f"has {table.num_rows} steps instead of {rows}")
        except Exception as error:  # each artifact store's package has its own exceptions
            reason = str(error).partition("\n")[0]
            self.broken.append(f"run {run_id}: {FILE}: {reason}")
            return None
        return table


def status(uri: str | None) -> str:
    """Describe the store: its address and how many experiments it has.

    Raises:
        TrackerError: the store does not answer.
    """
    try:
        mlflow = open_existing(uri)
    except NothingFound as error:
        return str(error).partition(". Fix:")[0]
    with translate_errors(uri):
        count = len(mlflow.search_experiments())
    return f"{_address(mlflow)} answers, {count} experiment{'' if count == 1 else 's'}"
