"""A `Schedule` given to `track()` describes a learning rate that no scheduler object changes."""

from __future__ import annotations

from pathlib import Path

import lrtrack
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


def test_the_rule_is_the_runs_and_the_rate_is_recorded(training, clean_place: Path) -> None:
    """A rate that is changed by hand is recorded with the schedule that was given."""
    schedule = lrtrack.Schedule("Halving", {"every": 1})
    with lrtrack.track(training.optimizer, schedule, tracker="local"):
        for _ in range(3):
            training.optimizer.zero_grad()
            training.model(training.inputs).square().mean().backward()
            training.optimizer.step()
            training.optimizer.param_groups[0]["lr"] /= 2
    (history,) = LocalTracker().histories(Query(directory=clean_place / ".lrtrack"))

    assert history.run.schedule == schedule
    assert history.metrics["lr"].tolist() == [0.1, 0.05, 0.025]
