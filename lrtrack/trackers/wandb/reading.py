"""Reading a project back from W&B."""

from __future__ import annotations

import hashlib
import json
import math
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

import numpy as np
import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import NothingFound, TrackerError, TrackerUnavailable, UsageError, unknown
from lrtrack.journal.reader import merge
from lrtrack.records import History, Run, State
from lrtrack.settings import redact
from lrtrack.trackers import columns
from lrtrack.trackers.base import Progress, Query
from lrtrack.trackers.wandb import place, words

#: Runs fetched at a time: W&B's servers count requests.
WORKERS = 6
#: Attempts at a request that was answered with 429, and the first pause in seconds.
ATTEMPTS, PAUSE = 5, 1.0
_PAGE = 200
_STATES = {"finished": State.FINISHED, "running": State.RUNNING, "pending": State.RUNNING}
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
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
        with suppress(Exception):
            names = [each.name for each in api.projects(entity)]
            raise NothingFound(unknown(f"project of {entity}", project, names)) from error
        raise NothingFound(
            f"W&B has no project {entity}/{project}, or no entity {entity}; your own is "
            f"{api.default_entity}"
        ) from error
    return [run for run in found if isinstance(run.config.get(words.CONFIG), Mapping)]


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

    def __init__(self, api: Any, url: str, metric: str | None, cache: bool) -> None:
        self._api = api
        self._url = url
        self._metric = metric
        self._cache = cache

    def history(self, found: Any, path: str) -> History:
        """One run with its steps."""
        with _translated(self._url):
            run = run_from(found, path)
            state = _STATES.get(found.state, State.FAILED)
            table = self._table(found, run, state)
        times = table["time"]
        ended = float(times[-1].as_py()) if len(times) else run.started
        return History(
            run,
            state,
            place.NAME,
            **columns.arrays(table),
            url=found.url,
            ended=None if state is State.RUNNING else ended,
            remote_id=found.id,
        )

    def _table(self, found: Any, run: Run, state: State) -> pa.Table:
        kept = None
        if self._cache and state is not State.RUNNING:
            kept = _cached(self._url, run, found)
            with suppress(ValueError):
                if kept.exists():
                    return columns.read_parquet(kept)
        table = _patiently(lambda: self._columnar(found, run))
        if table is None:
            table = _patiently(lambda: _scanned(found))
        metric = self._metric
        if metric is not None and not {metric, run.prefix + metric} & set(table.column_names):
            rows = _patiently(lambda: _users_rows(found, metric))
            table = _with_users_own(table, rows, metric)
            kept = None  # the next question may be another
        if kept is not None and table.num_rows:
            _keep(table, kept)
        return table

    def _columnar(self, found: Any, run: Run) -> pa.Table | None:
        """The columnar file; None where it is missing, torn or not of the whole run."""
        last = found.summary_metrics.get(words.STEP)
        with tempfile.TemporaryDirectory() as folder:
            file = found.file(f"{columns.FOLDER}/{columns.NAME}")
            if not file.size:
                return None
            try:
                with file.download(folder, replace=True):
                    pass
                table = columns.read_parquet(Path(folder) / columns.FOLDER / columns.NAME)
            except (ValueError, OSError):
                return None
        whole = table.num_rows > 0 and table["step"][-1].as_py() == last
        return table if whole and f"{run.prefix}lr" in table.column_names else None


def run_from(found: Any, path: str) -> Run:
    """A run's identity out of its config."""
    told: Mapping[str, Any] = found.config[words.CONFIG]
    device = told.get("device") if isinstance(told.get("device"), Mapping) else {}
    optimizer = told.get("optimizer") if isinstance(told.get("optimizer"), Mapping) else {}
    tags = told.get("tags") if isinstance(told.get("tags"), Mapping) else {}
    seed, started = told.get("seed"), told.get("started")
    return Run(
        id=str(told.get("run_id") or found.id),
        name=str(found.name or ""),
        schedule=words.schedule_from(told),
        optimizer=dict(optimizer or {}),
        experiment=path,
        group=found.group or told.get("group"),
        seed=seed if isinstance(seed, int) else None,
        config={name: value for name, value in found.config.items() if name != words.CONFIG},
        tags={str(name): str(value) for name, value in (tags or {}).items()},
        prefix=str(told.get("prefix") or ""),
        device_type=str((device or {}).get("type", "")),
        device_name=str((device or {}).get("name", "")),
        world_size=int(told.get("world_size") or 1),
        version=str(told.get("version", "")),
        started=float(started) if isinstance(started, int | float) else 0.0,
    )


def _scanned(found: Any) -> pa.Table:
    """Every row that lrtrack logged."""
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for row in found.scan_history(use_cache=False):
        step = row.get(words.STEP)
        if not isinstance(step, int | float):
            continue
        into = points.setdefault(int(step), {})
        times.setdefault(int(step), float(row.get("_timestamp") or 0.0))
        for name, value in row.items():
            number = _number(value)
            if number is not None and name != words.STEP and not name.startswith("_"):
                into[name] = number
    return _table_of(points, times)


def _users_rows(found: Any, metric: str) -> list[tuple[float, float]]:
    """(seconds since the epoch, value) of a metric that the user logged himself."""
    rows = found.scan_history(keys=[metric, "_timestamp"], use_cache=False)
    values = [(float(row["_timestamp"]), _number(row.get(metric))) for row in rows]
    return [(when, value) for when, value in values if value is not None]


def _with_users_own(table: pa.Table, rows: list[tuple[float, float]], metric: str) -> pa.Table:
    """The table, with the user's values at the step made last before each of them."""
    steps, times = table["step"].to_numpy(), table["time"].to_numpy()
    if not rows or not len(times):
        return table
    at = np.searchsorted(times, [when for when, _ in rows], side="right") - 1
    places = np.maximum(at, 0)
    points = {int(steps[i]): {metric: value} for i, (_, value) in zip(places, rows, strict=True)}
    extra = _table_of(points, {int(steps[i]): float(times[i]) for i in places})
    return merge([batch for part in (table, extra) for batch in part.to_batches()])


def _number(value: Any) -> float | None:
    """A value of W&B's history as a number; None where it is something else."""
    value = _NUMBERS.get(value, value) if isinstance(value, str) else value
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else None


def _table_of(points: dict[int, dict[str, float]], times: dict[int, float]) -> pa.Table:
    steps = sorted(points)
    names = dict.fromkeys(name for step in steps for name in points[step])
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([times[step] for step in steps], pa.float64()),
            **{n: pa.array([points[s].get(n) for s in steps], pa.float64()) for n in names},
        }
    )


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again, after growing pauses, where the server asks for patience."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except Exception as error:
            if "429" not in str(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt * random.uniform(0.8, 1.2))  # noqa: S311
    raise AssertionError("not reached")


@contextmanager
def _translated(uri: str | None) -> Iterator[None]:
    """Turn W&B's exceptions into lrtrack's."""
    errors = load("wandb.errors")
    where = f"W&B at {redact(uri or place.DEFAULT_URL)}"
    try:
        yield
    except errors.AuthenticationError as error:
        raise TrackerError(f"{where} refused the API key: run `wandb login --relogin`") from error
    except (errors.Error, OSError, ValueError) as error:
        text = redact(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
        if "401" in text or "not logged in" in text:
            what = f"{where} refused the API key: run `wandb login --relogin`"
            raise TrackerError(what) from error
        raise TrackerUnavailable(f"{where}: {text[:500]}") from error


def _cached(url: str, run: Run, found: Any) -> Path:
    """Where a finished run is kept: under a name made of digits, never of a run's own words."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / ".cache"
    about = [redact(url), run.experiment, found.id, found.state, _attribute(found, "heartbeatAt"),
             _attribute(found, "historyLineCount")]  # fmt: skip
    digest = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
    return folder / "lrtrack" / "wandb" / f"{digest}.parquet"


def _attribute(found: Any, name: str) -> Any:
    return getattr(found, "_attrs", {}).get(name)


def _keep(table: pa.Table, path: Path) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}-{random.randrange(10**9)}")  # noqa: S311
        columns.write_parquet(table, fresh)
        fresh.replace(path)
