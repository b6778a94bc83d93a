"""Reading a project back from W&B."""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import NothingFound, TrackerError, TrackerUnavailable, UsageError, unknown
from lrtrack.records import TRAIN, History, Run, State, diagnoses_from, suggestions_from
from lrtrack.settings import redact
from lrtrack.trackers import columns, copies, shared_runs
from lrtrack.trackers.base import Progress, Query
from lrtrack.trackers.wandb import leaving, place, rows, words
from lrtrack.trackers.wandb.access import refusal

#: Runs fetched at a time: W&B's servers count requests.
WORKERS = 6
#: Attempts at a request that was answered with 429, and the first pause in seconds.
ATTEMPTS, PAUSE = 5, 1.0
_PAGE = 200
#: What changes in W&B when a finished run does.
_CHANGES = ("heartbeatAt", "historyLineCount")
_jitter = random.Random()  # noqa: S311 (a reader may sit in a notebook that trains)
_STATES = {"finished": State.FINISHED, "running": State.RUNNING, "pending": State.RUNNING}
_COMPARE = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==?|<|>)\s*(.+?)\s*")
_SIGNS = {"!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "==": "$eq"}

T = TypeVar("T")


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Histories of the runs that lrtrack wrote into a project, newest first.

    The columnar file is taken where it is whole, and every row is asked for where it is not;
    W&B's sampled history never is.
    """
    api, uri = _api(query.uri)
    entity, project = _project(query.experiment, api)
    wanted = {"$and": [_filter(text) for text in query.filters]} if query.filters else {}
    with _translated(uri):
        runs = _runs(api, entity, project, wanted)
    source = _Source(api, uri or place.DEFAULT_URL, query.metric, query.cache)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="lrtrack-read") as pool:
        waiting = [pool.submit(source.history, run, f"{entity}/{project}") for run in runs]
        try:
            for done, future in enumerate(waiting, 1):
                yield future.result()
                if progress is not None:
                    progress(done, len(runs))
        finally:
            for future in waiting:
                future.cancel()
    copies.prune()


def status() -> str:
    """The server, and whose account is used there.

    Raises:
        TrackerError: it does not answer, or refuses.
        UsageError: there is no API key.
    """
    api, uri = _api(None)
    with _translated(uri):
        viewer = api.viewer
    return f"{redact(uri or place.DEFAULT_URL)} answers, as {viewer.username or viewer.entity}"


def _api(uri: str | None) -> tuple[Any, str | None]:
    uri = uri or os.environ.get("WANDB_BASE_URL") or place.from_file("base_url")
    place.check_key(redact(uri) if uri else None)
    wandb = load("wandb")
    leaving.bound()
    with _translated(uri):
        return wandb.Api(overrides={"base_url": uri} if uri else None, timeout=30), uri


def _project(experiment: str | None, api: Any) -> tuple[str, str]:
    known = place.environment()
    named, _, project = (experiment or "").rpartition("/")
    entity = named or known.get("WANDB_ENTITY") or api.default_entity or ""
    project = project or known.get("WANDB_PROJECT") or place.from_file("project") or "lrtrack"
    return entity, project


def _runs(api: Any, entity: str, project: str, wanted: Mapping[str, Any]) -> list[Any]:
    try:
        found = _patiently(
            lambda: list(
                api.runs(
                    f"{entity}/{project}",
                    filters=dict(wanted),
                    order="-created_at",
                    per_page=_PAGE,
                    lazy=False,
                )
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
    ours = [run for run in found if isinstance(run.config.get(words.CONFIG), Mapping)]
    # By when they began: W&B only knows when they were delivered, which may be days later.
    return sorted(ours, key=_started, reverse=True)


def _filter(text: str) -> dict[str, Any]:
    """A filter as W&B's server takes it: its own JSON, or `FIELD OP VALUE`."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise UsageError(f"Cannot read the filter {text!r} as JSON: {error}") from error
    match = _COMPARE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Cannot read the filter {text!r}: write FIELD OP VALUE with one of "
            f"{' '.join(_SIGNS)}, for instance state=finished or config.lr<0.1, or W&B's JSON"
        )
    field, sign, value = match.groups()
    try:
        wanted = json.loads(value)
    except ValueError:
        wanted = value.strip("'\"")
    return {field: wanted if sign in ("=", "==") else {_SIGNS[sign]: wanted}}


class _Source:
    """Fetches runs, one by one, from several threads."""

    def __init__(self, api: Any, url: str, metric: str | None, copies: bool) -> None:
        self._api = api
        self._url = url
        self._metric = metric
        self._copies = copies

    def history(self, found: Any, path: str) -> History:
        """One run with its steps."""
        with _translated(self._url):
            run = run_from(found, path)
            state = _STATES.get(found.state, State.FAILED)
            arrays = self._arrays(found, run, state)
        times = arrays["times"]
        ended = float(times[-1]) if len(times) else run.started
        return History(
            run,
            state,
            place.NAME,
            **arrays,
            url=found.url,
            ended=None if state is State.RUNNING else ended,
            remote_id=found.id,
        )

    def _arrays(self, found: Any, run: Run, state: State) -> dict[str, Any]:
        """The run's steps: out of a copy, else of its columnar file, else of its rows."""
        copy = None
        if self._copies and state is not State.RUNNING:
            about = (found.id, found.state, *(_attribute(found, name) for name in _CHANGES))
            copy = copies.place_of("wandb", redact(self._url), run.experiment, *about)
            arrays = copies.kept(copy)
            if arrays is not None:
                return arrays
        table = _patiently(lambda: self._columnar(found, run))
        if table is None:
            table = _patiently(lambda: rows.scanned(found))
        metric = self._metric
        if metric is not None and not {metric, run.prefix + metric} & set(table.column_names):
            own = _patiently(lambda: rows.users_rows(found, metric))
            table = rows.with_users_own(table, own, metric)
            copy = None  # the next question may be another
        if copy is None or not table.num_rows:
            return columns.arrays(table)
        copies.keep(table, copy)
        return copies.kept(copy) or columns.arrays(table)

    def _columnar(self, found: Any, run: Run) -> pa.Table | None:
        """The columnar file; None where it is missing, torn or not of the whole run."""
        last = found.summary_metrics.get(words.STEP)
        file = next(iter(found.files([f"{columns.FOLDER}/{columns.NAME}"])), None)
        if file is None or not file.size:  # W&B's answer to an unknown name has been both
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                with file.download(folder, replace=True):
                    pass
                table = columns.read_parquet(Path(folder) / columns.FOLDER / columns.NAME)
            except (ValueError, OSError):
                return None
        return table if table.num_rows and _is_whole(table, last, found) else None


def run_from(found: Any, path: str) -> Run:
    """A run's identity out of its config."""
    described = words.blocks(found.config[words.CONFIG])
    told: Mapping[str, Any] = next(iter(described.values()))
    schedule, optimizer = shared_runs.together(
        {
            shared_runs.scope_of(prefix): (words.schedule_from(each), _mapping(each, "optimizer"))
            for prefix, each in described.items()
        }
    )
    device = _mapping(told, "device")
    seed, processes = told.get("seed"), told.get("world_size")
    own = {name: value for name, value in found.config.items() if name != words.CONFIG}
    diagnoses = [diagnoses_from(each.get("diagnoses")) for each in described.values()]
    return Run(
        id=str(told.get("run_id") or found.id),
        name=str(found.name or ""),
        schedule=schedule,
        optimizer=dict(optimizer),
        experiment=path,
        group=found.group or told.get("group"),
        seed=seed if isinstance(seed, int) else None,
        config={**_mapping(told, "config"), **own},
        tags={str(name): str(value) for name, value in _mapping(told, "tags").items()},
        prefix=str(told.get("prefix") or ""),
        device_type=str(device.get("type", "")),
        device_name=str(device.get("name", "")),
        world_size=processes if isinstance(processes, int) else 1,
        version=str(told.get("version", "")),
        started=_started(found),
        kind=str(told.get("kind") or TRAIN),
        suggestions=suggestions_from(told.get("suggestion")),
        diagnoses=None
        if all(each is None for each in diagnoses)
        else tuple(each for part in diagnoses for each in part or ()),
    )


def _is_whole(table: pa.Table, last: Any, found: Any) -> bool:
    """Whether a columnar file has all that the blocks of a run have recorded."""
    described = words.blocks(found.config[words.CONFIG])
    phases = [shared_runs.phases_from(each.get("phases")) for each in described.values()]
    begins = min((each[1]["first"] for each in phases if len(each) > 1), default=1)
    steps, names = table["step"], table.column_names
    inside = steps[-1].as_py() == last and steps[0].as_py() < max(begins, 1)
    return bool(inside and all(f"{prefix}lr" in names for prefix in described))


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _started(found: Any) -> float:
    started = found.config[words.CONFIG].get("started")
    return float(started) if isinstance(started, int | float) else 0.0


def _attribute(found: Any, name: str) -> Any:
    return getattr(found, "_attrs", {}).get(name)


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again, after growing pauses, where the server asks for patience."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except Exception as error:
            if "429" not in str(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt * _jitter.uniform(0.8, 1.2))
    raise AssertionError("not reached")


@contextmanager
def _translated(uri: str | None) -> Iterator[None]:
    """Turn W&B's exceptions into lrtrack's."""
    errors = load("wandb.errors")
    where = f"W&B at {redact(uri or place.DEFAULT_URL)}"
    try:
        yield
    except (errors.Error, OSError, ValueError) as error:
        text = redact(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
        if place.refused(text):
            raise TrackerError(f"{where} refused the API key", refusal()) from error
        raise TrackerUnavailable(f"{where}: {text[:500]}") from error
