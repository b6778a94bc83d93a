"""X axes of curves: convert a run's steps to steps, seconds or epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History, one_by_one

STEP, TIME, EPOCH = "step", "time", "epoch"
#: Titles of the x axes.
AXES: Mapping[str, str] = {STEP: "step", TIME: "seconds since the first step", EPOCH: "epoch"}

#: Keys of `config` in which a run may state its steps per epoch.
_PER_EPOCH = ("steps_per_epoch", "batches_per_epoch", "iterations_per_epoch")
_NO_EPOCHS = (
    "There is no epoch axis: {missing} of {runs} runs do not say what an epoch is. Record it with "
    "run.log(epoch=...) or give track() config={{'steps_per_epoch': ...}}; --x step and --x time "
    "need neither."
)
#: The most knots of a thinned ruler: more than anyone can see on an axis.
KNOTS = 128
#: From this many steps on, rulers are thinned: in full they would take as much memory as the
#: runs.
_MANY = 4_000_000


@dataclass(frozen=True)
class Ruler:
    """Converts a run's steps to positions on an x axis, by linear interpolation between knots.

    Outside the knots it extrapolates with the mean slope.

    Attributes:
        steps: shape (k,), ascending, k ≥ 1.
        places: the positions of `steps`, shape (k,), ascending.
    """

    steps: NDArray[np.float64]
    places: NDArray[np.float64]

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The positions of `steps`, shape (n,)."""
        positions = np.interp(steps, self.steps, self.places)
        if self.steps.size < 2:
            return np.asarray(positions)
        slope = (self.places[-1] - self.places[0]) / (self.steps[-1] - self.steps[0])
        positions += slope * np.minimum(steps - self.steps[0], 0.0)
        positions += slope * np.maximum(steps - self.steps[-1], 0.0)
        return np.asarray(positions)

    def thinned(self) -> Ruler:
        """The ruler with at most `KNOTS` knots, including both ends."""
        if self.steps.size <= KNOTS:
            return self
        indices = np.linspace(0, self.steps.size - 1, KNOTS).round().astype(np.int64)
        return Ruler(self.steps[indices], self.places[indices])


def rulers_of(
    histories: Sequence[History],
) -> tuple[dict[str, tuple[Ruler, ...]], Mapping[str, str]]:
    """One ruler per run for each axis that all runs have, and why other axes are missing."""
    many = sum(history.steps.size for history in histories) > _MANY
    clocks = (_clock(history) for history in one_by_one(histories))
    rulers = {
        STEP: tuple(Ruler(np.array([0.0, 1.0]), np.array([0.0, 1.0])) for _ in histories),
        TIME: tuple(clock.thinned() if many else clock for clock in clocks),
    }
    epochs = [_epochs(history) for history in histories]
    available = tuple(ruler for ruler in epochs if ruler is not None)
    if len(available) == len(epochs):
        return {**rulers, EPOCH: available}, {}
    missing = len(epochs) - len(available)
    return rulers, {EPOCH: _NO_EPOCHS.format(missing=missing, runs=len(epochs))}


def _clock(history: History) -> Ruler:
    """Seconds since the run's first optimizer step."""
    if not history.steps.size:
        return Ruler(np.zeros(1), np.zeros(1))
    name = history.name_of("lr")
    trained = None if name is None else history.present[name]
    origin = history.times[trained][0] if trained is not None and trained.any() else None
    seconds = history.times - (history.times[0] if origin is None else origin)
    # A clock that was set back must not make the curve go backwards.
    own = Ruler(history.steps.astype(np.float64), np.maximum.accumulate(seconds))
    first = history.run.branched_at
    if history.parent is None or first is None:
        return own
    earlier = _clock(history.parent)
    shared = earlier.steps < first
    if not shared.any():
        return own
    places = earlier.places[shared]
    return Ruler(
        np.concatenate((earlier.steps[shared], own.steps)),
        np.concatenate((places, own.places + places[-1])),
    )


def _epochs(history: History) -> Ruler | None:
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
