"""Arrow arrays from numpy arrays and back, without pandas.

`pa.array` and `to_numpy` import pandas at their first call: 0.3 s in the middle of a training, or
a third of the time of a report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def arrow_of(values: NDArray[Any], present: NDArray[np.bool_] | None = None) -> pa.Array:
    """Makes an Arrow array of numbers, null where `present` is False.

    Args:
        values: shape (n,), numbers of any type but bool; the array shares their memory.
        present: shape (n,); None: there is a value everywhere.
    """
    valid = None if present is None else _packed(present)
    kind = pa.from_numpy_dtype(values.dtype)
    numbers = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, values.size, [valid, numbers])


def mask_of(values: NDArray[np.bool_]) -> pa.Array:
    """Makes an Arrow array of truth values."""
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, _packed(values)])


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Returns the numbers of a column of a fixed width, NaN where a float is null.

    A view if that is possible, else a copy; either may be read alone.
    """
    parts = [_view(chunk) for chunk in _chunks(column)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty(0, _kind_of(column.type)), *parts])


def present_in(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Returns where a column has a value; takes one byte where it has one everywhere."""
    if not column.null_count:
        return np.broadcast_to(np.True_, len(column))
    return np.concatenate([_present(chunk) for chunk in _chunks(column)])


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _view(chunk: pa.Array) -> NDArray[Any]:
    kind = _kind_of(chunk.type)
    numbers = chunk.buffers()[1]
    if numbers is None:  # without rows, or with nulls alone
        return np.full(len(chunk), np.nan if kind.kind == "f" else 0, kind)
    end = chunk.offset + len(chunk)
    values = np.frombuffer(numbers, kind, end)[chunk.offset :]
    if not chunk.null_count:
        return values
    return np.where(_present(chunk), values, np.nan)


def _kind_of(type_: pa.DataType) -> np.dtype[Any]:
    # Arrow's own `to_pandas_dtype` imports pandas.
    name = str(type_)
    return np.dtype({"halffloat": "float16", "float": "float32"}.get(name, name))


def _present(chunk: pa.Array) -> NDArray[np.bool_]:
    valid = chunk.buffers()[0]
    if valid is None or not chunk.null_count:
        return np.full(len(chunk), chunk.null_count == 0)
    bits = np.frombuffer(valid, np.uint8)
    end = chunk.offset + len(chunk)
    return np.unpackbits(bits, count=end, bitorder="little")[chunk.offset :].view(np.bool_)


def _packed(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
