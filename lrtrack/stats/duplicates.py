"""Warnings about runs and steps that occur twice, for example after a resume or a copy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History, State, one_by_one, recorded
from lrtrack.stats.figures import Notice
from lrtrack.stats.groups import Group, noun_of
from lrtrack.stats.setup_diff import cut, settings_of

#: Shorter series may be equal by chance.
_FEWEST_ALIKE = 10
_SHOWN = 3
#: About so many values of a series are compared before all of them are.
_COMPARED = 64


def duplicates(groups: Sequence[Group], metric: str) -> Iterator[Notice]:
    """Report runs and steps that may count twice.

    Two runs repeat each other if they have the same schedule, seed and setup, or if their values
    are equal in at least 10 records that are not all the same number.
    """
    histories = [history for group in groups for history in group.histories]
    yield from _steps(histories)
    yield from _ids(histories)
    yield from _seeds(groups)
    yield from _values(groups, metric)


def _steps(histories: Sequence[History]) -> Iterator[Notice]:
    twice = [item for item in one_by_one(histories) if _repeats(item.steps)]
    if twice:
        yield Notice(
            "duplicate-steps",
            f"{len(twice)} of {len(histories)} runs have repeated or unordered steps (for example "
            f"{cut(twice[0].run.name)}): their statistics count these steps twice.",
        )


def _ids(histories: Sequence[History]) -> Iterator[Notice]:
    counts = Counter(item.run.id for item in histories)
    twice = {key: many for key, many in counts.items() if many > 1}
    if twice:
        key, many = next(iter(twice.items()))
        yield Notice(
            "duplicate-runs",
            f"{len(twice)} of {len(counts)} runs were read more than once, {cut(key)} {many} "
            "times: every copy counts.",
        )


def _seeds(groups: Sequence[Group]) -> Iterator[Notice]:
    """Runs with the same schedule, seed and setup: restarted, or resumed under another id."""
    repeated, late, broken = [], False, False
    for group in groups:
        same: dict[Hashable, list[History]] = {}
        for history in _distinct(group):
            if history.run.seed is not None:
                same.setdefault(_identity(history), []).append(history)
        for runs in same.values():
            if len(runs) > 1:
                repeated.append(f"{cut(group.label)}, seed {runs[0].run.seed}: {len(runs)} runs")
                late |= any(run.steps.size and run.steps[0] > 0 for run in runs)
                broken |= any(run.state is not State.FINISHED for run in runs)
    if repeated:
        more = f"; {len(repeated) - _SHOWN} more" if len(repeated) > _SHOWN else ""
        hint = " Some begin after step 0, like resumed runs." * late
        hint += " Some did not finish, like runs that were restarted." * broken
        yield Notice(
            "duplicate-seeds",
            f"Runs of one {noun_of(groups[0].fields)} share a seed "
            f"({'; '.join(repeated[:_SHOWN])}{more}): if one "
            f"repeats or continues another, the same training counts twice.{hint}",
        )


def _values(groups: Sequence[Group], metric: str) -> Iterator[Notice]:
    """Runs of one schedule whose values are equal at every step."""
    repeated = []
    for group in groups:
        alike: dict[bytes, list[History]] = {}
        for history in one_by_one(_distinct(group)):
            values = _values_of(history, metric)
            usable = np.isfinite(values)
            finite = values if usable.all() else values[usable]
            if finite.size >= _FEWEST_ALIKE and finite.min() < finite.max():
                # Some of the values tell nearly all runs apart, at a fraction of the cost.
                some = values[:: 1 + values.size // _COMPARED].tobytes()
                alike.setdefault(some, []).append(history)
        same = Counter(
            hashlib.sha256(np.ascontiguousarray(_values_of(history, metric)).data).digest()
            for histories in alike.values()
            if len(histories) > 1
            for history in one_by_one(histories)
        )
        repeated += [f"{cut(group.label)}: {many} runs" for many in same.values() if many > 1]
    if repeated:
        more = f"; {len(repeated) - _SHOWN} more" if len(repeated) > _SHOWN else ""
        yield Notice(
            "identical-runs",
            f"Runs have the same {metric} at every step ({'; '.join(repeated[:_SHOWN])}{more}): "
            "they are copies, or the seed has no effect. Each counts as a separate run, which "
            "makes the spread look smaller than it is.",
        )


def _values_of(history: History, metric: str) -> NDArray[np.float64]:
    name = history.name_of(metric)
    return history.times[:0] if name is None else recorded(history, name, history.metrics[name])


def _repeats(steps: NDArray[np.int64]) -> bool:
    return bool((steps[1:] <= steps[:-1]).any())


def _distinct(group: Group) -> list[History]:
    """The runs of the group, each id once."""
    return list({history.run.id: history for history in group.histories}.values())


def _identity(history: History) -> Hashable:
    run = history.run
    device = run.device_name or run.device_type
    settings = frozenset(settings_of(history).items())
    return run.schedule.id, run.seed, run.prefix, device, settings
