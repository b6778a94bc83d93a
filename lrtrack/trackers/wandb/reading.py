"""Reading a project back from W&B."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import NothingFound, TrackerError, unknown
from lrtrack.fields import JSON, shallow
from lrtrack.filters import select
from lrtrack.journal import history_table
from lrtrack.records import TRAIN, History, Run, State, diagnoses_from, suggestions_from
from lrtrack.settings import redact
from lrtrack.trackers import cache, per_run, shared_runs
from lrtrack.trackers.base import Progress, Query
from lrtrack.trackers.wandb import destination, history_rows, login, metadata
from lrtrack.trackers.wandb.api import (
    connect,
    exists,
    first_line,
    listed,
    narrowing_filters,
    patiently,
    project_of,
    server_filter,
    service_errors,
    translated,
)

#: Runs fetched at a time: W&B's servers count requests.
WORKERS = 6
_PAGE = 200
#: What changes in W&B when a finished run does.
_CHANGES = ("heartbeatAt", "historyLineCount")
_STATES = {"finished": State.FINISHED, "running": State.RUNNING, "pending": State.RUNNING}


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Histories of the runs that lrtrack wrote into a project, newest first.

    The columnar file is taken where it is whole, and every row is asked for where it is not;
    W&B's sampled history never is.
    """
    api, uri = connect(query.uri)
    entity, project = project_of(query.experiment, api)
    left_out = per_run.LeftOut()

    def search(wanted: Mapping[str, Any]) -> list[Any]:
        with translated(uri):
            return _runs(api, entity, project, wanted, left_out)

    runs = _selected(search, query, f"{entity}/{project}")
    source = _Source(api, uri or destination.DEFAULT_URL, query, f"{entity}/{project}", left_out)
    yield from per_run.read_each(
        runs, source.history, _named, left_out, workers=WORKERS, progress=progress
    )
    cache.prune()


def _selected(
    search: Callable[[Mapping[str, Any]], list[Any]], query: Query, path: str
) -> list[Any]:
    """The runs for which the query's filters hold."""
    raw = [server_filter(text) for text in query.raw_filters]
    narrowing = narrowing_filters(query.filters)
    runs = search({"$and": [*raw, *narrowing]} if raw or narrowing else {})
    # A narrowed search that finds nothing cannot tell a field that no run has from a value that
    # none has: `select` does, on all runs.
    if narrowing and not runs:
        runs = search({"$and": raw} if raw else {})
    return select(runs, query.filters, partial(_fields, path))


def _fields(path: str, found: Any) -> dict[str, JSON]:
    try:
        run = run_from(found, path)
        state = str(_state_of(found))
    except Exception:  # a run that cannot be read is reported when it is read
        return {}
    url = str(found.url) if found.url else None
    return run.fields(run_id=str(found.id), state=state, tracker=destination.NAME, url=url)


def _runs(
    api: Any, entity: str, project: str, wanted: Mapping[str, Any], left_out: per_run.LeftOut
) -> list[Any]:
    try:
        found = patiently(
            lambda: listed(
                api.runs(
                    f"{entity}/{project}",
                    filters=dict(wanted),
                    order="-created_at",
                    per_page=_PAGE,
                    lazy=False,
                ),
                left_out,
            )
        )
    except ValueError as error:
        if "Could not find project" not in str(error):
            raise
        names: list[str] = []
        with suppress(Exception):  # an unknown entity has no list of projects
            names = [each.name for each in api.projects(entity)]
        told = f"entity {entity!r}; your own is {api.default_entity!r}"
        raise NothingFound(f"{unknown('project', project, names)} (W&B: {told})") from error
    ours = [run for run in found if _is_ours(run)]
    # By when they began: W&B only knows when they were delivered, which may be days later.
    return sorted(ours, key=_started, reverse=True)


class _Source:
    """Fetches runs, one by one, from several threads."""

    def __init__(
        self, api: Any, url: str, query: Query, path: str, left_out: per_run.LeftOut
    ) -> None:
        self._api = api
        self._url = url
        self._metric = query.metric
        self._copies = query.cache
        self._path = path
        self._left_out = left_out

    def history(self, found: Any) -> History:
        """One run with its steps.

        Raises:
            TrackerUnavailable, AccessRefused: other runs would fail alike.
            TrackerError: this run cannot be read.
        """
        run = run_from(found, self._path)
        state = _state_of(found)
        try:
            arrays = self._arrays(found, run, state)
        except Exception as error:
            self._judge(found, error)
            raise
        times = arrays["times"]
        ended = per_run.moment(float(times[-1]), run.started) if len(times) else run.started
        history = History(
            run,
            state,
            destination.NAME,
            **arrays,
            url=str(found.url) if found.url else None,
            ended=None if state is State.RUNNING else ended,
            remote_id=str(found.id),
        )
        return per_run.checked(history)

    def _judge(self, found: Any, error: Exception) -> None:
        """Raise what ends the whole reading: where it is not this run alone that fails.

        W&B's client raises the same for a run that is deleted and for a server that is away.
        """
        if not isinstance(error, load("wandb.errors").Error | OSError | service_errors()):
            return  # the data, not the connection
        with translated(self._url):
            if login.refused(str(error)):
                raise error
            if exists(self._api, self._path, str(found.id)):
                raise TrackerError(f"W&B does not give its steps: {first_line(error)}") from error
        raise TrackerError("it was deleted while the runs were read") from error

    def _arrays(self, found: Any, run: Run, state: State) -> dict[str, Any]:
        """The run's steps: out of a copy, else of its columnar file, else of its rows."""
        copy = None
        if self._copies and state is not State.RUNNING:
            about = (found.id, found.state, *(_attribute(found, name) for name in _CHANGES))
            copy = cache.place_of("wandb", redact(self._url), run.experiment, *about)
            arrays = cache.kept(copy)
            if arrays is not None:
                return arrays
        table = patiently(lambda: self._columnar(found, run))
        if table is None:
            table = patiently(lambda: history_rows.scanned(found, self._on_odd(found)))
        metric = self._metric
        if metric is not None and not {metric, run.prefix + metric} & set(table.column_names):
            own = patiently(lambda: history_rows.users_rows(found, metric, self._on_odd(found)))
            table = history_rows.with_users_own(table, own, metric)
            copy = None  # the next question may be another
        if copy is None or not table.num_rows:
            return history_table.arrays(table)
        cache.keep(table, copy)
        return cache.kept(copy) or history_table.arrays(table)

    def _on_odd(self, found: Any) -> history_rows.OnOdd:
        return lambda count, why: self._left_out.note_rows(lambda: _named(found), count, why)

    def _columnar(self, found: Any, run: Run) -> pa.Table | None:
        """The columnar file; None where it is missing, torn or not of the whole run."""
        summary = found.summary_metrics
        last = summary.get(metadata.STEP) if isinstance(summary, Mapping) else None
        file = next(iter(found.files([f"{history_table.FOLDER}/{history_table.NAME}"])), None)
        if file is None or not file.size:  # W&B's answer to an unknown name has been both
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                with file.download(folder, replace=True):
                    pass
                table = history_table.read_parquet(
                    Path(folder) / history_table.FOLDER / history_table.NAME
                )
            except (ValueError, OSError):
                return None
        return table if table.num_rows and _is_whole(table, last, found) else None


def run_from(found: Any, path: str) -> Run:
    """A run's identity out of its config; what in it makes no sense is left out."""
    described = metadata.blocks(found.config[metadata.CONFIG])
    fields: Mapping[str, Any] = next(iter(described.values()))
    schedule, optimizer = shared_runs.together(
        {
            shared_runs.scope_of(prefix): (
                metadata.schedule_from(block),
                _mapping(block, "optimizer"),
            )
            for prefix, block in described.items()
        }
    )
    device = _mapping(fields, "device")
    group = found.group or fields.get("group")
    diagnoses = [diagnoses_from(block.get("diagnoses")) for block in described.values()]
    config = {
        **_mapping(fields, "config"),
        **{name: value for name, value in found.config.items() if name != metadata.CONFIG},
    }
    return Run(
        id=str(fields.get("run_id") or found.id),
        name=str(found.name or ""),
        schedule=schedule,
        optimizer={str(name): value for name, value in optimizer.items() if shallow(value)},
        experiment=path,
        group=str(group) if group else None,
        seed=per_run.integer_of(fields.get("seed")),
        config={str(name): value for name, value in config.items() if shallow(value)},
        tags={str(name): str(value) for name, value in _mapping(fields, "tags").items()},
        prefix=str(fields.get("prefix") or ""),
        device_type=str(device.get("type", "")),
        device_name=str(device.get("name", "")),
        world_size=per_run.integer_of(fields.get("world_size")) or 1,
        version=str(fields.get("version", "")),
        started=_started(found),
        kind=str(fields.get("kind") or TRAIN),
        suggestions=suggestions_from(fields.get("suggestion")),
        diagnoses=None
        if all(block is None for block in diagnoses)
        else tuple(diagnosis for block in diagnoses for diagnosis in block or ()),
    )


def _is_whole(table: pa.Table, last: Any, found: Any) -> bool:
    """Whether a columnar file has all that the blocks of a run have recorded."""
    described = metadata.blocks(found.config[metadata.CONFIG])
    phases = [shared_runs.phases_from(block.get("phases")) for block in described.values()]
    begins = min((block[1]["first"] for block in phases if len(block) > 1), default=1)
    steps, names = table["step"], table.column_names
    inside = steps[-1].as_py() == last and steps[0].as_py() < max(begins, 1)
    return bool(inside and all(f"{prefix}lr" in names for prefix in described))


def _mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _is_ours(found: Any) -> bool:
    config = found.config
    return isinstance(config, Mapping) and isinstance(config.get(metadata.CONFIG), Mapping)


def _named(found: Any) -> str:
    return f"{found.name!r} ({found.id})"


def _state_of(found: Any) -> State:
    if not isinstance(found.state, str):
        raise per_run.OddRun(f"its state is {found.state!r}")
    return _STATES.get(found.state, State.FAILED)


def _started(found: Any) -> float:
    return per_run.moment(found.config[metadata.CONFIG].get("started"))


def _attribute(found: Any, name: str) -> Any:
    return getattr(found, "_attrs", {}).get(name)
