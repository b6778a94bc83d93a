"""Matches schedulers to the optimizers of one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrtrack.capture.ownership import foreign, optimizers_of
from lrtrack.errors import UsageError
from lrtrack.schedules import Schedule

#: Attributes in which containers keep their schedulers.
SCHEDULERS = ("schedulers",)


def inside(container: Any, attributes: Sequence[str]) -> Mapping[Any, Any] | Sequence[Any] | None:
    """Return what a container has in the first of these attributes whose values all step."""
    for attribute in attributes:
        inner = getattr(container, attribute, None)
        if isinstance(inner, Mapping | list | tuple) and inner:
            values = inner.values() if isinstance(inner, Mapping) else inner
            if all(callable(getattr(value, "step", None)) for value in values):
                return inner
    return None


def matched(optimizers: Sequence[Any], keys: Sequence[str] | None, scheduler: Any) -> list[Any]:
    """Return the scheduler of each optimizer, None where it has none.

    Raises:
        UsageError: their numbers, names or forms differ.
    """
    count = len(optimizers)
    if scheduler is None:
        return [None] * count
    if isinstance(scheduler, Mapping):
        if keys is None:
            raise UsageError(
                "The schedulers have names, but the optimizers have none. Fix: pass both as lists, "
                "or both as mappings with the same names."
            )
        if set(scheduler) != set(keys):
            raise UsageError(
                f"The optimizers are called {', '.join(keys)}, but the schedulers "
                f"{', '.join(map(str, scheduler))}. Fix: give both the same names, with None for "
                "an optimizer without a scheduler."
            )
        return [scheduler[key] for key in keys]
    if isinstance(scheduler, list | tuple):
        if keys is not None:
            raise UsageError(
                "The optimizers have names, but the schedulers are a list. Fix: pass the "
                "schedulers as a mapping with the same names."
            )
        return _in_order(count, scheduler)
    return _of_object(optimizers, scheduler)


def _in_order(count: int, schedulers: Sequence[Any]) -> list[Any]:
    if len(schedulers) != count:
        raise UsageError(
            f"There are {count} optimizers, but {len(schedulers)} schedulers. Fix: pass one for "
            "each optimizer in the same order, None where it has none."
        )
    return list(schedulers)


def _of_object(optimizers: Sequence[Any], scheduler: Any) -> list[Any]:
    """Match one object: a container of schedulers, or a scheduler of some optimizers or all."""
    members = inside(scheduler, SCHEDULERS)
    if members is not None:
        schedulers = list(members.values() if isinstance(members, Mapping) else members)
        pairs = zip(optimizers, schedulers, strict=False)
        if len(schedulers) == len(optimizers) and all(foreign(*pair) is None for pair in pairs):
            return schedulers
        own = [
            next((s for s in schedulers if foreign(each, s) is None), None) for each in optimizers
        ]
        if {id(s) for s in own if s is not None} == {id(s) for s in schedulers}:
            return own
        return _in_order(len(optimizers), schedulers)
    if (
        isinstance(scheduler, Schedule)
        or len(optimizers) == 1
        or not list(optimizers_of(scheduler))
    ):
        return [scheduler] * len(optimizers)
    owned = [scheduler if foreign(each, scheduler) is None else None for each in optimizers]
    return owned if any(s is not None for s in owned) else [scheduler] * len(optimizers)
