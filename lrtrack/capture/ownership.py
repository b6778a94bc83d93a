"""Which optimizer a scheduler moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lrtrack.capture.nested_schedulers import nested

#: Wrappers around wrappers are opened this deep.
_DEPTH = 10


def optimizers_of(scheduler: Any) -> Iterator[Any]:
    """The optimizers that a scheduler and all schedulers inside it carry, wrappers opened."""
    for part in nested(scheduler):
        yield from _carried(part)


def foreign(optimizer: Any, scheduler: Any) -> Any | None:
    """The optimizer that `scheduler` moves, where that is not `optimizer`.

    None too where it cannot be told: a scheduler that carries no optimizer, or several of which
    one is right. Two wrappers around one optimizer, or around the same param groups, are one.
    """
    try:
        return _foreign(optimizer, scheduler)
    except Exception:  # somebody else's property: no reason to keep anyone from training
        return None


def _foreign(optimizer: Any, scheduler: Any) -> Any | None:
    parts = list(nested(scheduler))
    moving = [part for part in parts if len(list(nested(part))) == 1]
    found = [own for part in moving if (own := list(_carried(part)))]
    if not found:
        found = [own for part in parts if (own := list(_carried(part)))]
    asked = list(_opened(optimizer))
    if not found or any(_related(asked, own) for own in found):
        return None
    return found[0][0]


def _carried(part: Any) -> Iterator[Any]:
    several = getattr(part, "optimizers", None)
    listed = list(several) if isinstance(several, list | tuple) else []
    for each in [*listed, getattr(part, "optimizer", None)]:
        yield from _opened(each)


def _opened(optimizer: Any) -> Iterator[Any]:
    """An optimizer, and what it wraps."""
    for _ in range(_DEPTH):
        if optimizer is None:
            return
        if hasattr(optimizer, "param_groups"):
            yield optimizer
        optimizer = getattr(optimizer, "optimizer", None)


def _related(left: list[Any], right: list[Any]) -> bool:
    if {id(each) for each in left} & {id(each) for each in right}:
        return True
    groups = [{id(group) for each in side for group in each.param_groups} for side in (left, right)]
    return bool(groups[0] & groups[1])
