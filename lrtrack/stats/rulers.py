"""Where a run is on an x axis of its own: a metric that it logged, such as tokens, or the epoch.

A running total is logged now and then. Between two logged values it grows on a straight line over
the steps. Before the first step it is 0, and after its last value nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History, one_by_one
from lrtrack.stats.branched import whole_series

STEP, TIME, EPOCH = "step", "time", "epoch"
#: Keys of `config` in which a run may state its steps per epoch.
_PER_EPOCH = ("steps_per_epoch", "batches_per_epoch", "iterations_per_epoch")
#: The most knots of a thinned ruler: more than anyone can see on an axis.
KNOTS = 128

Places = NDArray[np.float64]


@dataclass(frozen=True)
class Ruler:
    """Converts a run's steps to positions on an x axis, by linear interpolation between knots.

    Attributes:
        steps: shape (k,), ascending, k ≥ 1.
        places: the positions of `steps`, shape (k,), ascending.
        bounded: whether there are no positions outside the knots; otherwise they are extrapolated
            with the mean slope.
    """

    steps: NDArray[np.float64]
    places: Places
    bounded: bool = False

    def at(self, steps: NDArray[np.int64] | Places) -> Places:
        """The positions of `steps`, shape (n,); NaN where there is none."""
        if self.bounded:
            return np.asarray(np.interp(steps, self.steps, self.places, left=np.nan, right=np.nan))
        positions = np.interp(steps, self.steps, self.places)
        if self.steps.size < 2:
            return np.asarray(positions)
        slope = (self.places[-1] - self.places[0]) / (self.steps[-1] - self.steps[0])
        positions += slope * np.minimum(steps - self.steps[0], 0.0)
        positions += slope * np.maximum(steps - self.steps[-1], 0.0)
        return np.asarray(positions)

    def latest(self, step: int) -> float:
        """The last known position up to `step`; the first one for steps before it."""
        last = min(step, int(self.steps[-1])) if self.bounded else step
        first = max(last, int(self.steps[0])) if self.bounded else last
        return float(self.at(np.array([first]))[0])

    def passed(self, step: int | None) -> float | None:
        """The position of the step that reached a target.

        Args:
            step: None if no step reached it.

        Returns:
            None without such a step, and where it is later than the last known position.
        """
        if step is None or (self.bounded and step > self.steps[-1]):
            return None
        return self.latest(step)

    def thinned(self) -> Ruler:
        """The ruler with at most `KNOTS` knots, including both ends."""
        if self.steps.size <= KNOTS:
            return self
        indices = np.linspace(0, self.steps.size - 1, KNOTS).round().astype(np.int64)
        return Ruler(self.steps[indices], self.places[indices], self.bounded)


@dataclass(frozen=True)
class Placement:
    """A run's ruler for an x axis.

    Attributes:
        ruler: None if the run has no positions on the axis.
        fault: how the metric moves that the run has, if that is no axis; otherwise empty.
    """

    ruler: Ruler | None
    fault: str = ""


def placement_of(history: History, x: str) -> Placement:
    """The ruler of a run for a metric or `epoch`.

    A metric is an axis if it never falls and is not the same everywhere. If it begins above 0, it
    is 0 before the first step.
    """
    if x == EPOCH:
        return Placement(epochs_of(history))
    steps, values = whole_series(history, x)
    usable = np.isfinite(values)
    steps, values = steps[usable], values[usable]
    if not steps.size:
        return Placement(None)
    falls = np.flatnonzero(np.diff(values) < 0.0)
    if falls.size:
        before, after = values[falls[0]], values[falls[0] + 1]
        return Placement(None, f"falls from {before:g} to {after:g} at step {steps[falls[0] + 1]}")
    if values[0] == values[-1] and (values.size > 1 or values[0] <= 0.0):
        return Placement(None, f"is {values[0]:g} at every step")
    places, at = values, steps.astype(np.float64)
    if values[0] > 0.0:
        at, places = np.concatenate(([-1.0], at)), np.concatenate(([0.0], places))
    return Placement(Ruler(at, places, bounded=True))


def epochs_of(history: History) -> Ruler | None:
    """The ruler of a run for epochs; None if it does not say what an epoch is."""
    steps, epochs = history.series(EPOCH)
    usable = np.isfinite(epochs)
    # If an epoch is recorded with each of its steps, the first of them is where it begins.
    epochs, first = np.unique(epochs[usable], return_index=True)
    at = steps[usable][first]
    if at.size > 1 and (np.diff(at) > 0).all():
        return Ruler(at.astype(np.float64), epochs)
    for key in _PER_EPOCH:
        size = history.run.config.get(key)
        if isinstance(size, int | float) and not isinstance(size, bool) and size > 0:
            return Ruler(np.array([0.0, size]), np.array([0.0, 1.0]))
    return None


def axis_metrics(histories: Iterable[History]) -> set[str]:
    """The metrics that could be an x axis: logged more than once, and growing in every run."""
    common: set[str] | None = None
    for history in one_by_one(histories):
        names = {
            name.removeprefix(history.run.prefix)
            for name, present in history.present.items()
            if present.sum() > 1
        }
        candidates = names if common is None else common & names
        common = {name for name in candidates if placement_of(history, name).ruler is not None}
    return common or set()
