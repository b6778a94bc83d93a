"""A metric of a run that branched off another one, with the steps that both share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History

Series = tuple[NDArray[np.int64], NDArray[np.float64]]


def whole_series(
    history: History, metric: str, read: Callable[[History, str], Series] = History.series
) -> Series:
    """Return a metric's steps and values, after those that the run shares with its parent.

    Args:
        read: reads the steps and values of one run's own records.
    """
    steps, values = read(history, metric)
    first = history.run.branched_at
    if history.parent is None or first is None:
        return steps, values
    shared_steps, shared = whole_series(history.parent, metric, read)
    kept = shared_steps < first
    return np.concatenate((shared_steps[kept], steps)), np.concatenate((shared[kept], values))
