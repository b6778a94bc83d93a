"""Reading a project back from W&B."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import TrackerError
from lrtrack.filters import select
from lrtrack.journal import history_table
from lrtrack.records import History, Run, State
from lrtrack.records.logged import aligned, history_of
from lrtrack.redaction import redact
from lrtrack.trackers import cache, per_run, shared_runs
from lrtrack.trackers.base import ALL, Progress, Query
from lrtrack.trackers.wandb import destination, history_rows, logged_runs, login, metadata
from lrtrack.trackers.wandb.api import (
    connect,
    exists,
    first_line,
    project_of,
    service_errors,
    translate_errors,
    with_retries,
)
from lrtrack.trackers.wandb.description import is_tracked, label, runs_from, state_of
from lrtrack.trackers.wandb.history_file import downloaded
from lrtrack.trackers.wandb.listing import selected_runs

#: Runs fetched concurrently; W&B's servers limit the rate of requests.
WORKERS = 6
#: Attributes that change in W&B if a finished run changes.
_VERSION_ATTRIBUTES = ("heartbeatAt", "historyLineCount")


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Read the runs that lrtrack wrote into a project, or all, newest first.

    Steps come from the columnar file if it is complete, else from all rows of the run, never from
    W&B's sampled history.
    """
    api, uri = connect(query.uri)
    entity, project = project_of(query.experiment, api)
    left_out = per_run.LeftOut()
    runs = selected_runs(api, uri, (entity, project), query, left_out)
    source = _Source(api, uri or destination.DEFAULT_URL, query, f"{entity}/{project}", left_out)
    for histories in per_run.read_each(
        runs, source.histories, label, left_out, workers=WORKERS, progress=progress
    ):
        # What the rates of others' runs show is only known now; see `comparing.reading`.
        everything = query.runs == ALL
        yield from histories if everything else select(histories, query.filters, History.fields)
    cache.prune()


class _Source:
    """Fetches histories of runs, from several threads."""

    def __init__(
        self, api: Any, url: str, query: Query, path: str, left_out: per_run.LeftOut
    ) -> None:
        self._api = api
        self._url = url
        self._metrics = [name for name in (query.metric, query.axis) if name is not None]
        self._use_cache = query.cache
        self._roles = query.roles
        self._path = path
        self._left_out = left_out

    def histories(self, wandb_run: Any) -> list[History]:
        """Fetch one run with its steps: a history for each of its blocks.

        Raises:
            TrackerUnavailable, AccessRefused: all other runs would fail too.
            TrackerError: only this run cannot be read.
        """
        if not is_tracked(wandb_run):
            return [self._logged(wandb_run)]
        runs = runs_from(wandb_run, self._path)
        run, prefixes = runs[0], [block.prefix for block in runs]
        state = state_of(wandb_run)
        try:
            arrays = self._arrays(wandb_run, run, state)
        except Exception as error:
            self._raise_shared_failure(wandb_run, error)
            raise
        times = arrays["times"]
        ended = per_run.moment(float(times[-1]), run.started) if len(times) else run.started
        return [
            per_run.checked(
                History(
                    block,
                    shared_runs.state_of(block, state),
                    destination.NAME,
                    **shared_runs.arrays_of_block(arrays, block.prefix, prefixes),
                    url=str(wandb_run.url) if wandb_run.url else None,
                    ended=None if state is State.RUNNING else ended,
                    remote_id=str(wandb_run.id),
                )
            )
            for block in runs
        ]

    def _logged(self, wandb_run: Any) -> History:
        """Fetch a run that lrtrack did not record."""
        logged = logged_runs.logged_run(wandb_run, self._path)
        try:
            arrays = self._logged_arrays(wandb_run, logged.state)
        except Exception as error:
            self._raise_shared_failure(wandb_run, error)
            raise
        times = arrays["times"]
        ended = max(per_run.moment(float(times.max())), logged.started) if times.size else None
        if logged.state is not State.RUNNING:
            logged = replace(logged, ended=ended)
        return per_run.checked(history_of(logged, arrays, self._roles))

    def _logged_arrays(self, wandb_run: Any, state: State) -> Mapping[str, Any]:
        copy = self._copy(wandb_run, state, self._path, "logged", self._roles.lr_metric)
        arrays = None if copy is None else cache.kept(copy)
        if arrays is not None:
            return arrays
        on_odd = self._on_odd(wandb_run)
        metrics = with_retries(lambda: logged_runs.fetch_series(wandb_run, on_odd))
        columns, _ = aligned(metrics, self._roles)
        if copy is None or not columns.steps.size:
            return vars(columns)
        return cache.keep(history_table.table_of(vars(columns)), copy) or vars(columns)

    def _copy(self, wandb_run: Any, state: State, *identity: Any) -> Path | None:
        """Where a copy of a finished run is, or is to be kept; None: there may be none."""
        if not self._use_cache or state is State.RUNNING:
            return None
        version = (_attribute(wandb_run, name) for name in _VERSION_ATTRIBUTES)
        url = redact(self._url)
        return cache.place_of("wandb", url, *identity, wandb_run.id, wandb_run.state, *version)

    def _raise_shared_failure(self, wandb_run: Any, error: Exception) -> None:
        """Raise an exception that tells a failure of one run from one of all runs.

        W&B's client raises the same for a deleted run and for a server that does not answer.
        """
        if not isinstance(error, load("wandb.errors").Error | OSError | service_errors()):
            return  # the data are invalid; the connection works
        with translate_errors(self._url):
            if login.is_refusal(str(error)):
                raise error
            if exists(self._api, self._path, str(wandb_run.id)):
                raise TrackerError(f"W&B does not return its steps: {first_line(error)}") from error
        raise TrackerError("it was deleted while the runs were read") from error

    def _arrays(self, wandb_run: Any, run: Run, state: State) -> dict[str, Any]:
        """Get a run's steps from the cache, its columnar file or, failing both, its rows."""
        copy = self._copy(wandb_run, state, run.experiment)
        arrays = None if copy is None else cache.kept(copy)
        if arrays is not None:
            lacking = self._lacking(arrays["metrics"], run)
            logged = [name for name in lacking if name in (wandb_run.summary_metrics or {})]
            if not logged:
                return arrays
            table = self._with_logged(wandb_run, history_table.table_of(arrays), logged)
            return history_table.arrays(table)
        table = with_retries(lambda: self._from_file(wandb_run, run))
        if table is None:
            table = with_retries(
                lambda: history_rows.fetch_steps(wandb_run, self._on_odd(wandb_run))
            )
        lacking = self._lacking(table.column_names, run)
        if lacking:
            table = self._with_logged(wandb_run, table, lacking)
            copy = None  # the next query may ask for another metric
        if copy is None or not table.num_rows:
            return history_table.arrays(table)
        return cache.keep(table, copy) or history_table.arrays(table)

    def _lacking(self, names: Collection[str], run: Run) -> list[str]:
        """The metrics of the query that are not among `names`."""
        return [name for name in self._metrics if not {name, run.prefix + name} & set(names)]

    def _with_logged(self, wandb_run: Any, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The table with metrics that the user logged without lrtrack."""
        for name in names:
            fetch = partial(
                history_rows.fetch_user_metric, wandb_run, name, self._on_odd(wandb_run)
            )
            table = history_rows.add_user_metric(table, with_retries(fetch), name)
        return table

    def _on_odd(self, wandb_run: Any) -> history_rows.OnOdd:
        return lambda count, why: self._left_out.note_rows(lambda: label(wandb_run), count, why)

    def _from_file(self, wandb_run: Any, run: Run) -> pa.Table | None:
        """Read the columnar file; None if it is missing, damaged or incomplete."""
        summary = wandb_run.summary_metrics
        last = summary.get(metadata.STEP) if isinstance(summary, Mapping) else None
        table = downloaded(wandb_run)
        if table is None or not table.num_rows:
            return None
        return table if _is_complete(table, last, wandb_run) else None


def _is_complete(table: pa.Table, last: Any, wandb_run: Any) -> bool:
    """Whether a columnar file has all steps and learning rates of the run's blocks."""
    blocks = metadata.blocks_of(wandb_run.config[metadata.CONFIG])
    phases = [shared_runs.phases_from(block.get("phases")) for block in blocks.values()]
    second_begins = min((block[1]["first"] for block in phases if len(block) > 1), default=1)
    steps, names = table["step"], table.column_names
    spans_all = steps[-1].as_py() == last and steps[0].as_py() < max(second_begins, 1)
    return bool(spans_all and all(f"{prefix}lr" in names for prefix in blocks))


def _attribute(wandb_run: Any, name: str) -> Any:
    return getattr(wandb_run, "_attrs", {}).get(name)
