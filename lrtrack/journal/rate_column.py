"""The learning rates of one optimizer in a table of records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lrtrack.journal.arrow_arrays import numbers_of

#: A rate that moves by less, as a share of its largest value, is constant.
_STILL = 1e-9


def column_of(prefix: str, name: str) -> str:
    """The metric of an optimizer's rate; `name` is empty where there is one optimizer."""
    return f"{prefix}lr" + (f"/{name}" if name else "")


def rates_of(table: pa.Table, column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The steps and the finite rates of a column, each of shape (n,); empty if it is missing."""
    if column not in table.column_names:
        return np.empty(0, np.int64), np.empty(0)
    rows = table.filter(table[column].is_valid())
    return finite(numbers_of(rows["step"]), numbers_of(rows[column]))


def finite(
    steps: NDArray[np.int64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The records with a finite rate."""
    known = np.isfinite(rates)
    return steps[known], rates[known]


def is_still(rates: NDArray[np.float64]) -> bool:
    """Whether finite rates, shape (n,), never move, or are none."""
    return not rates.size or bool(np.ptp(rates) <= _STILL * rates.max())
