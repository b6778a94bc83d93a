"""Turns rows into columns, and columns into frames."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lrtrack.journal.arrow_arrays import arrow_of
from lrtrack.journal.framing import Kind, encode

#: step, time, metrics; metrics may still hold values that `settle` turns into floats.
Row = tuple[int, float, dict[str, Any]]
Settle = Callable[[Sequence[Row]], None]
#: Metric name → values, shape (n,), and which are present, shape (n,), None if all are.
Columns = dict[str, tuple[NDArray[np.float64], NDArray[np.bool_] | None]]
#: Called with steps and times (seconds since the epoch), each of shape (n,), and metrics.
OnRows = Callable[[NDArray[np.int64], NDArray[np.float64], Columns], None]


def columns_of(
    rows: Sequence[Row], settle: Settle | None
) -> tuple[np.ndarray, np.ndarray, Columns]:
    """Returns steps, times and metrics of rows; a metric is 0 where it is absent."""
    if settle is not None:
        settle(rows)
    names = dict.fromkeys(name for _, _, metrics in rows for name in metrics)
    steps = np.array([step for step, _, _ in rows], dtype=np.int64)
    times = np.array([when for _, when, _ in rows], dtype=np.float64)
    columns = {name: _column([metrics.get(name) for *_, metrics in rows]) for name in names}
    return steps, times, columns


def _column(values: Sequence[float | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    if None not in values:  # hardly ever
        return np.array(values, dtype=np.float64), None
    present = np.array([value is not None for value in values])
    filled = [0.0 if value is None else value for value in values]
    return np.array(filled, dtype=np.float64), present


def encode_rows(steps: NDArray[np.int64], times: NDArray[np.float64], metrics: Columns) -> bytes:
    """Encodes the rows as one frame."""
    columns = [arrow_of(steps), arrow_of(times)]
    columns += [arrow_of(*column) for column in metrics.values()]
    batch = pa.record_batch(columns, names=["step", "time", *metrics])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return encode(Kind.ROWS, sink.getvalue().to_pybytes())


def warm_up() -> None:
    """Does once what the first frame would otherwise have to do."""
    encode_rows(*columns_of([(0, 0.0, {"loss": 0.0})], None))


def sound(rows: Sequence[Row]) -> Iterator[Row]:
    """Removes the values and names that a journal cannot hold from the rows."""
    for step, when, metrics in rows:
        found = {}
        for name, value in metrics.items():
            with contextlib.suppress(Exception):
                name.encode()
                found[name] = float(value)
        yield step, when, found
