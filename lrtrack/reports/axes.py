"""X axes of curves: convert a run's steps to steps, seconds or epochs, and title every axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lrtrack.errors import clean
from lrtrack.records import History, one_by_one
from lrtrack.stats import NO_EPOCHS
from lrtrack.stats.rulers import EPOCH, STEP, TIME, Ruler, epochs_of

#: Titles of the x axes that are no metric.
AXES: Mapping[str, str] = {STEP: "step", TIME: "seconds since the first step", EPOCH: "epoch"}

#: From this many steps on, rulers are thinned: in full they would take as much memory as the
#: runs.
_MANY = 4_000_000


def title_of(axis: str) -> str:
    """The title of an x axis."""
    return AXES.get(axis) or clean(axis)


def own_title(axis: str) -> str:
    """The title of an axis that runs log themselves; empty for steps and seconds."""
    return "" if axis in (STEP, TIME) else title_of(axis)


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
    epochs = [epochs_of(history) for history in histories]
    available = tuple(ruler for ruler in epochs if ruler is not None)
    if len(available) == len(epochs):
        return {**rulers, EPOCH: available}, {}
    missing = len(epochs) - len(available)
    return rulers, {EPOCH: NO_EPOCHS.format(missing=missing, runs=len(epochs))}


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
