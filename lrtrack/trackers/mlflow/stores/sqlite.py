"""A local SQLite database of MLflow, read by SQL that cannot write.

Only schemas that MLflow is known to have made are read; the tables that are used here are the same
in all of them.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from lrtrack.journal import history_table
from lrtrack.records.alignment import MAX_STEP, Series
from lrtrack.trackers.mlflow.points import grouped, in_order, ordered, restored
from lrtrack.trackers.mlflow.search import TRACKED
from lrtrack.trackers.mlflow.stores.artifacts import local_file
from lrtrack.trackers.mlflow.stores.base import (
    Experiment,
    RunData,
    RunInfo,
    StoredRun,
    Unsure,
    named,
    points_of,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

#: The last migration of Alembic's in each release of MLflow whose databases are read directly.
SCHEMAS = {
    "1b5f0d9ad7c1": "3.10",
    "c3d6457b6d8a": "3.11",
    "7d34483879f0": "3.12",
    "da6fb0208061": "3.13",
    "b7e4c1a90f23": "3.14",
    "6f8d9c3b2a1e": "3.15",
    "b7e2c1a4d9f3": "3.16",
    "dc11669786a5": "3.17",
    "f4a9b2c7d1e6": "3.18",
}
#: Seconds to wait for a program that writes.
_BUSY = 20.0
#: The most experiments that are listed, as MLflow's client does.
_MOST = 1000

_EXPERIMENT = "SELECT experiment_id, name, lifecycle_stage FROM experiments"
_IN_EXPERIMENT = "FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'"
_IS_TRACKED = (
    " AND EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid"
    " AND tags.key = 'lrtrack.version' AND tags.value != '')"
)
_RUN_COLUMNS = "run_uuid, name, experiment_id, status, start_time, end_time, artifact_uri"
# The indices are named, because without statistics of the tables SQLite takes the one that begins
# with the metric's name, and goes through the points of all runs. The first one came with 3.12.
_BY_NAME = "index_metrics_run_uuid_key_step"
_INDICES = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
# A point takes an object of Python's for each column, which is most of the time: NaN has none.
_POINTS_OF_METRIC = (
    "SELECT step, CASE WHEN is_nan THEN NULL ELSE value END, timestamp FROM metrics"
    " INDEXED BY index_metrics_run_uuid_key_step WHERE run_uuid = ? AND key = ?"
)
_POINTS_OF_RUN = (
    "SELECT key, step, value, timestamp, is_nan FROM metrics INDEXED BY index_metrics_run_uuid"
    " WHERE run_uuid = ?"
)


class SqliteStore:
    """Reads a database file, opened for reading alone.

    Args:
        uri: `sqlite:///` and the absolute path of the file.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._path = uri.removeprefix("sqlite:///")
        self._free: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def experiment(self, experiment_id: str) -> Experiment | None:
        """See `Store`."""
        return self._one_experiment("experiment_id = ?", int(experiment_id))

    def experiment_named(self, name: str) -> Experiment | None:
        """See `Store`."""
        return self._one_experiment("name = ?", name)

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        query = f"{_EXPERIMENT} WHERE lifecycle_stage = 'active' ORDER BY last_update_time DESC"
        with self._connection() as connection:
            rows = connection.execute(f"{query}, experiment_id LIMIT {_MOST}").fetchall()
        return [_experiment(row) for row in rows]

    def experiment_of(self, run_id: str) -> str:
        """See `Store`."""
        with self._connection() as connection:
            query = "SELECT experiment_id FROM runs WHERE run_uuid = ?"
            ((number,),) = connection.execute(query, (run_id,)).fetchall()
        return str(number)

    def runs(
        self, experiment_id: str, conditions: Sequence[str], raw: Sequence[str] = ()
    ) -> list[StoredRun]:
        """See `Store`."""
        if raw:
            raise Unsure("only MLflow reads its search language")
        where = _IN_EXPERIMENT + (_IS_TRACKED if TRACKED in conditions else "")
        number = (int(experiment_id),)
        of_these = f"WHERE run_uuid IN (SELECT run_uuid {where})"
        with self._connection() as connection, _snapshot(connection):

            def rows(query: str) -> list[tuple[Any, ...]]:
                return connection.execute(query, number).fetchall()

            order = "ORDER BY start_time DESC, run_uuid"
            infos = rows(f"SELECT {_RUN_COLUMNS} {where} {order}")
            contents = {
                table: _by_run(rows(f"SELECT run_uuid, {columns} FROM {table} {of_these}"))  # noqa: S608
                for table, columns in {
                    "tags": "key, value",
                    "params": "key, value",
                    "latest_metrics": "key, value, step, timestamp, is_nan",
                }.items()
            }
        return [_stored_run(row, {t: by.get(row[0], []) for t, by in contents.items()})
                for row in infos]  # fmt: skip

    def points(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """See `Store`."""
        with self._connection() as connection:
            if not connection.execute(_INDICES, (_BY_NAME,)).fetchall():
                rows = connection.execute(_POINTS_OF_RUN, (run_id,)).fetchall()
                return ordered(grouped(rows, names))
            series: dict[str, Series] = {}
            for name in names:
                rows = connection.execute(_POINTS_OF_METRIC, (run_id, name)).fetchall()
                if rows:
                    series[name] = _series(rows)
        return series

    def history(self, run: StoredRun) -> pa.Table:
        """See `Store`."""
        return history_table.read_parquet(local_file(run.info.artifact_uri))

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            connections, self._free = self._free, []
        for connection in connections:
            connection.close()

    def _one_experiment(self, condition: str, value: object) -> Experiment | None:
        with self._connection() as connection:
            rows = connection.execute(f"{_EXPERIMENT} WHERE {condition}", (value,)).fetchall()
        if len(rows) > 1:
            raise Unsure("several experiments have one name")
        return _experiment(rows[0]) if rows else None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Take a connection that no other thread uses during the block."""
        with self._lock:
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._free.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode=ro",
            uri=True,
            timeout=_BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            _check(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _check(connection: sqlite3.Connection) -> None:
    """Refuse a database whose schema is not known, or that has workspaces."""
    versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if len(versions) != 1 or versions[0][0] not in SCHEMAS:
        raise Unsure("a schema of another release")
    workspace = "SELECT 1 FROM experiments WHERE workspace != 'default' LIMIT 1"
    if connection.execute(workspace).fetchall():
        raise Unsure("the database has workspaces")


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all queries of the block see the database at one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _by_run(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows without their first column, which is the run's id, by this id."""
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for run_id, *row in rows:
        grouped.setdefault(run_id, []).append(tuple(row))
    return grouped


def _experiment(row: tuple[Any, ...]) -> Experiment:
    number, name, stage = row
    return Experiment(str(number), name, stage)


def _stored_run(row: tuple[Any, ...], contents: dict[str, list[tuple[Any, ...]]]) -> StoredRun:
    run_id, name, number, status, start, end, artifact_uri = row
    tags = dict(contents["tags"])
    latest = points_of(
        (key, float("nan") if is_nan else float(value), step, timestamp)
        for key, value, step, timestamp, is_nan in contents["latest_metrics"]
    )
    return StoredRun(
        RunInfo(run_id, named(name, tags), str(number), status, start, end, artifact_uri or ""),
        RunData(dict(contents["params"]), tags, latest),
    )


def _series(rows: Sequence[tuple[Any, ...]]) -> Series:
    """Rows of one metric's step, value (None for NaN) and timestamp as arrays."""
    try:
        columns = _columns(rows)
    except TypeError:
        columns = _columns([(s, np.nan if v is None else v, when) for s, v, when in rows])
    steps, values, times = columns
    if (np.abs(steps) >= MAX_STEP).any() or (np.abs(times) >= MAX_STEP).any():
        raise Unsure("numbers that a float64 does not hold exactly")
    return in_order(Series(steps.astype(np.int64), restored(values), times / 1000))


def _columns(rows: Sequence[tuple[Any, ...]]) -> NDArray[np.float64]:
    flat = itertools.chain.from_iterable(rows)
    return np.fromiter(flat, np.float64, 3 * len(rows)).reshape(-1, 3).T.copy()
