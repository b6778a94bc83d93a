"""Comparisons read back from an in-memory tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from lrtrack.records import History, Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemoryTracker

LINEAR = {"name": "LinearLR", "start_factor": 0.1, "total_iters": 100}
SCHEDULES = (
    Schedule("constant"),
    Schedule("StepLR", {"step_size": 30, "gamma": 0.1}),
    Schedule("StepLR", {"step_size": 60, "gamma": 0.1}),
    Schedule(
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 1000, "pct_start": 0.3, "anneal_strategy": "cos",
         "base_momentum": 0.85, "max_momentum": 0.95, "div_factor": 25.0},
    ),
    *(
        Schedule(
            "SequentialLR",
            {"milestones": [100],
             "schedulers": [LINEAR, {"name": "CosineAnnealingLR", "T_max": 900, "eta_min": low}]},
        )
        for low in (0.0, 0.001)
    ),
)  # fmt: skip


@pytest.fixture
def tracker() -> MemoryTracker:
    """An empty tracker."""
    return MemoryTracker()


@pytest.fixture
def add(tracker: MemoryTracker) -> Callable[..., None]:
    """Writes one run, given its losses step by step."""

    def write(
        schedule: Schedule, losses: Sequence[float], *, state: State = State.FINISHED, **run: Any
    ) -> None:
        seed = run.get("seed")
        fields: Mapping[str, Any] = {
            "id": f"{schedule.id}{seed or 0:024x}", "name": f"{schedule.name}-{seed}", **run
        }  # fmt: skip
        sink = tracker.sink(Run(schedule=schedule, **fields), tracker.target("digits"), None)
        sink.open()
        sink.write(
            [
                StepRecord(step, 100.0 + step / 8, {"loss": loss, "lr": 0.1, "grad_norm": 2.0})
                for step, loss in enumerate(losses)
            ],
            doubt=False,
        )
        if state is not State.RUNNING:
            sink.close(state, 200.0, {})

    return write


@pytest.fixture
def histories(tracker: MemoryTracker) -> Callable[[], list[History]]:
    """Reads all runs back."""
    return lambda: list(tracker.histories(Query("digits")))


@pytest.fixture
def comparison(
    add: Callable[..., None], histories: Callable[[], list[History]]
) -> ComparisonResult:
    """Six schedules with three seeds each, some with long labels; one run diverged, one still
    runs.
    """
    for rank, schedule in enumerate(SCHEDULES):
        for seed in range(3):
            losses = [1.0, 0.1 * (rank + 1) + 0.01 * seed]
            if (rank, seed) == (3, 1):
                losses[1] = float("nan")
            state = State.RUNNING if (rank, seed) == (1, 2) else State.FINISHED
            add(schedule, losses, seed=seed, state=state)
    return compare_histories(histories(), experiment="digits", metric="loss", target=0.3)


@pytest.fixture(scope="session")
def run_of() -> Callable[..., History]:
    """Builds one finished run of a schedule from metric columns."""

    def make(
        schedule: Schedule, seed: int = 0, *, steps: Sequence[int] | None = None,
        pace: float = 1.0, url: str | None = None, config: Mapping[str, Any] | None = None,
        name: str = "run", state: State = State.FINISHED, **metrics: Sequence[float | None],
    ) -> History:  # fmt: skip
        at = np.arange(max(map(len, metrics.values()))) if steps is None else np.array(steps)
        empty = {key: [value is None for value in values] for key, values in metrics.items()}
        return History(
            run=Run(
                id=f"{schedule.id}{seed:024x}", name=name, schedule=schedule, seed=seed,
                config=config or {},
            ),
            state=state,
            tracker="memory",
            steps=at.astype(np.int64),
            times=1000.0 + pace * np.arange(at.size),
            metrics={key: np.array(values, dtype=float) for key, values in metrics.items()},
            present={key: ~np.array(gaps) for key, gaps in empty.items()},
            url=url,
        )  # fmt: skip

    return make
