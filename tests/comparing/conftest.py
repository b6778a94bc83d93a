"""A small comparison with known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lrtrack import stats
from lrtrack.comparing import Comparison
from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule

nan = np.nan

COSINE = Schedule("CosineAnnealingLR", {"T_max": 2})
CHAIN = Schedule(
    "SequentialLR",
    {"milestones": [1], "schedulers": [{"name": "LinearLR"}, {"name": "ConstantLR", "factor": 1}]},
)


def history(
    run_id: str, schedule: Schedule, losses: list[float], val: float | None = None, **run: object
) -> History:
    """A run with steps half a second apart, starting at second 100; `val_loss` is at its last
    step.
    """
    size = len(losses)
    metrics = {"loss": np.array(losses), "lr": np.full(size, 0.1)}
    present = {name: np.ones(size, dtype=bool) for name in metrics}
    if val is not None:
        metrics["val_loss"] = np.array([nan] * (size - 1) + [val])
        present["val_loss"] = np.array([False] * (size - 1) + [True])
    prefix = str(run.get("prefix", ""))
    return History(
        run=Run(**{"id": run_id, "name": f"run {run_id}", "started": 99.0, **run},  # type: ignore[arg-type]
                schedule=schedule),
        state=State.FINISHED,
        tracker="memory",
        steps=np.arange(size, dtype=np.int64),
        times=100.0 + np.arange(size) / 2,
        metrics={prefix + name: values for name, values in metrics.items()},
        present={prefix + name: mask for name, mask in present.items()},
        url=f"http://host/{run_id}",
    )  # fmt: skip


@pytest.fixture
def small() -> Comparison:
    """Two seeds of one schedule and one run of another, which has a prefix and no seed."""
    histories = [
        history("a", COSINE, [1.0, 0.5], val=0.7, seed=0, config={"data": {"size": 9}}),
        history("b", COSINE, [1.0, 0.25], seed=1, optimizer={"name": "SGD", "lr": 0.1}),
        history("c", CHAIN, [2.0, nan, 4.0], prefix="g/", tags={"who": "me"}),
    ]
    return stats.build_comparison(Comparison, histories, experiment="x", metric="loss")
