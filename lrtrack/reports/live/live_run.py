"""One training that goes on, or has just ended, as far as it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import State

#: The recorded steps and values of a metric, each of shape (n,); of long runs means of many steps.
Points = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Without a new step for so many seconds, and for so many times as long as a step takes, a
#: training is said to rest.
_RESTS, _RESTS_STEPS = 10.0, 10.0


@dataclass(frozen=True)
class LiveRun:
    """One training.

    Attributes:
        id: lrtrack's id.
        label: the schedule's.
        step: the last recorded step; -1 before the first.
        total_steps: how many steps there will be; None if that is unknown.
        time: when that step was made, in seconds since the epoch; 0 before the first.
        steps_per_second: lately; NaN if it is unknown.
        latest: the latest value of each metric.
        series: the metrics over the steps.
        diagnoses: mappings with `"code"`, `"message"` and `"hint"`.
        tracker: where this was read.
    """

    id: str
    name: str
    label: str
    state: State = State.RUNNING
    step: int = -1
    total_steps: int | None = None
    time: float = 0.0
    steps_per_second: float = math.nan
    latest: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Points] = field(default_factory=dict)
    diagnoses: Sequence[Mapping[str, str]] = ()
    tracker: str = "local"

    @property
    def remaining(self) -> float:
        """Seconds until the last step at the present speed; NaN if that is unknown."""
        if self.total_steps is None or not self.steps_per_second > 0.0:
            return math.nan
        return max(0, self.total_steps - 1 - self.step) / self.steps_per_second

    def resting(self, now: float) -> float:
        """Seconds since the last step, if they are unusually many; else 0.

        Args:
            now: seconds since the epoch.
        """
        since = now - self.time
        if self.state is not State.RUNNING or not self.time or since < _RESTS:
            return 0.0
        is_usual = self.steps_per_second > 0.0 and since < _RESTS_STEPS / self.steps_per_second
        return 0.0 if is_usual else since


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"


def place(run: LiveRun) -> str:
    """`step 120 of 1,000 (12 %)`, as far as it is known."""
    if run.step < 0:
        return "no step yet"
    if run.total_steps is None:
        return f"step {run.step:,}"
    share = min(100, math.floor(100 * (run.step + 1) / run.total_steps))
    return f"step {run.step:,} of {run.total_steps:,} ({share} %)"
