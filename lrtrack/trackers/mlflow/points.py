"""All points of a run's metrics at once.

MLflow's own client makes an object of each point, which takes most of the time. A database is read
by a query that cannot write, and a server's answers are taken as they are. Where either fails, for
whatever reason, MLflow's client reads the run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack._optional import load
from lrtrack.records.alignment import Series
from lrtrack.trackers.mlflow.store import DATABASE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray

#: Reads metrics of a run: run id and names to the points of each.
Points = Callable[[str, Sequence[str]], dict[str, Series]]
#: Metrics of the machine, which have steps of their own.
SYSTEM = "system/"

_COLUMNS = ("key", "step", "value", "timestamp", "is_nan")
_RUN_ID = re.compile(r"\w{1,64}", re.ASCII)
_HISTORY = "/api/2.0/mlflow/metrics/get-history"
#: Points of one answer of a server.
PAGE = 25_000


@contextmanager
def opened(mlflow: MlflowClient) -> Iterator[Points]:
    """Yield the fastest way to read points from the client's store.

    Yields:
        A function for several threads, which raises what MLflow's client raises.
    """
    database: _Database | None = None
    direct: Points | None = None
    uri = str(mlflow.tracking_uri)
    if DATABASE.match(uri):
        database = _Database(uri)
        direct = database.read
    elif uri.startswith(("http://", "https://", "databricks")):
        direct = _Server(mlflow).read

    def read(run_id: str, names: Sequence[str]) -> dict[str, Series]:
        if direct is not None:
            try:
                return ordered(direct(run_id, names))
            except Exception:  # noqa: S110 (the client reports what is wrong with the store)
                pass
        return from_client(mlflow, run_id, names)

    try:
        yield read
    finally:
        if database is not None:
            database.close()


def series_of(steps: Iterable[Any], values: Iterable[Any], times: Iterable[Any]) -> Series:
    """Points of one metric as arrays.

    Args:
        steps: whole numbers.
        values: numbers, as MLflow keeps them.
        times: milliseconds since the epoch.

    Raises:
        TypeError, ValueError, OverflowError: some are no numbers.
    """
    numbers = restored(np.asarray(values, dtype=np.float64))
    return Series(np.asarray(steps, np.int64), numbers, np.asarray(times, np.float64) / 1000)


def restored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with infinities, which MLflow's SQL store keeps as the largest float64."""
    huge = np.abs(values) == sys.float_info.max
    return np.where(huge, np.copysign(np.inf, values), values) if huge.any() else values


def in_order(series: Series) -> Series:
    """The points in the order of time, step and value, in which MLflow's server returns them."""
    steps, times = series.steps, series.times
    if (steps[1:] > steps[:-1]).all() and (times[1:] >= times[:-1]).all():
        return series
    order = np.lexsort((series.values, steps, times))
    return Series(steps[order], series.values[order], times[order])


def ordered(metrics: Mapping[str, Series]) -> dict[str, Series]:
    """Metrics with their points in this order."""
    return {name: in_order(series) for name, series in metrics.items()}


def series_from_pages(page: Callable[[str], Mapping[str, Any]]) -> Series:
    """The points of a metric in the answers of a server.

    Args:
        page: returns the answer for a token; an empty token is the first page's.

    Raises:
        Exception: an answer is anything else than points.
    """
    points: list[Any] = []
    tokens: set[str] = set()
    token = ""
    while token not in tokens:
        tokens.add(token)
        answer = page(token)
        points += answer.get("metrics", ())
        token = answer.get("next_page_token") or ""
        if not token:
            return in_order(
                series_of(
                    [int(point.get("step", 0)) for point in points],
                    [float(point["value"]) for point in points],  # "NaN" is text in JSON
                    [int(point["timestamp"]) for point in points],
                )
            )
    raise ValueError("the server repeats a page")


def from_client(mlflow: MlflowClient, run_id: str, names: Sequence[str]) -> dict[str, Series]:
    """The points by MLflow's own client, in the order of time, step and value."""
    histories = {name: mlflow.get_metric_history(run_id, name) for name in names}
    return ordered(
        {
            name: series_of([p.step for p in h], [p.value for p in h], [p.timestamp for p in h])
            for name, h in histories.items()
        }
    )


class _Database:
    """Reads the table of metrics in MLflow's database, without writing to it."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connect: Any = None
        self._statement: Any = None

    def read(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """The points of some metrics of a run, in the order of the database.

        Raises:
            Exception: any error of the database, or its table has other columns.
        """
        if self._connect is None:
            self._open()
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError("not a run's id")
        # A cursor of the driver itself: SQLAlchemy would make an object of each row.
        raw = self._connect.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute(self._statement(run_id))
            rows = cursor.fetchall()
            cursor.close()
        finally:
            raw.close()
        return grouped(rows, names)

    def close(self) -> None:
        """Close all connections."""
        if self._connect is not None:
            self._connect.dispose()

    def _open(self) -> None:
        sqlalchemy = load("sqlalchemy")
        engine = sqlalchemy.create_engine(_read_only(self._uri, sqlalchemy))
        table = sqlalchemy.table("metrics", *map(sqlalchemy.column, (*_COLUMNS, "run_uuid")))
        known = {column["name"] for column in sqlalchemy.inspect(engine).get_columns("metrics")}
        if not {*_COLUMNS, "run_uuid"} <= known:
            raise ValueError("another version of MLflow's database")

        def statement(run_id: str) -> str:
            run = sqlalchemy.literal(run_id)
            query = sqlalchemy.select(*(table.c[name] for name in _COLUMNS)).where(
                table.c.run_uuid == run
            )
            return str(query.compile(engine, compile_kwargs={"literal_binds": True}))

        self._statement, self._connect = statement, engine


def _read_only(uri: str, sqlalchemy: Any) -> Any:
    """The address of the same database, where SQLite is opened for reading alone."""
    url = sqlalchemy.engine.make_url(uri)
    if not uri.startswith("sqlite") or not url.database or "uri" in url.query:
        return url
    path = url.database.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return url.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})


def grouped(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, Series]:
    """Rows of the table by metric."""
    if not rows:
        return {}
    keys, steps, values, times, nans = zip(*rows, strict=True)
    codes = {name: code for code, name in enumerate(names)}
    code_of_row = np.fromiter((codes.get(key, -1) for key in keys), np.int64, len(keys))
    every = series_of(steps, values, times)
    numbers = np.where(np.asarray(nans, dtype=bool), np.nan, every.values)
    grouped = {}
    for name, code in codes.items():
        at = np.flatnonzero(code_of_row == code)
        if at.size:
            grouped[name] = Series(every.steps[at], numbers[at], every.times[at])
    return grouped


class _Server:
    """Reads the JSON answers of an MLflow server, without making an object of each point."""

    def __init__(self, mlflow: MlflowClient) -> None:
        self._mlflow = mlflow

    def read(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """The points of some metrics of a run.

        Raises:
            Exception: the server answers anything else than the points.
        """
        return {n: series_from_pages(partial(self._page, run_id, n)) for n in names}

    def _page(self, run_id: str, name: str, token: str) -> dict[str, Any]:
        store: Any = self._mlflow._tracking_client.store
        asked: dict[str, Any] = {"run_id": run_id, "metric_key": name, "max_results": PAGE}
        if token:
            asked["page_token"] = token
        response = load("mlflow.utils.rest_utils").http_request(
            host_creds=store.get_host_creds(), endpoint=_HISTORY, method="GET", params=asked
        )
        if response.status_code != 200:
            raise ValueError(f"the server answers {response.status_code}")
        return dict(response.json())
