"""Histories with given numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule

MakeHistory = Callable[..., History]


@pytest.fixture(scope="session")
def make_history() -> MakeHistory:
    """Builds a history from metric columns (None: no value at that step) and fields of the run."""

    def make(
        metrics: Mapping[str, Sequence[float | None]],
        *,
        state: State = State.FINISHED,
        times: Sequence[float] | None = None,
        schedule: Schedule | None = None,
        **run: Any,
    ) -> History:
        size = max(map(len, metrics.values()), default=0)
        return History(
            run=Run(
                **{"id": f"run-{run.get('seed')}", "name": "r", **run},
                schedule=schedule or Schedule("constant"),
            ),
            state=state,
            tracker="memory",
            steps=np.arange(size, dtype=np.int64),
            times=np.arange(size, dtype=float) if times is None else np.array(times, dtype=float),
            metrics={
                name: np.array([np.nan if v is None else v for v in values], dtype=float)
                for name, values in metrics.items()
            },
            present={
                name: np.array([v is not None for v in values], dtype=bool)
                for name, values in metrics.items()
            },
        )

    return make
