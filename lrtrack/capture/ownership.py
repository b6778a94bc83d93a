"""Determines which optimizer a scheduler belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.optimizers import INNER

#: Maximum depth to which wrappers around wrappers are opened.
_DEPTH = 10


def optimizers_of(scheduler: Any) -> Iterator[Any]:
    """Yield the unwrapped optimizers of a scheduler and of all schedulers inside it."""
    for part in nested(scheduler):
        yield from _carried(part)


def foreign(optimizer: Any, scheduler: Any) -> Any | None:
    """Return the optimizer of `scheduler` if it is another one than `optimizer`.

    None also if that is unclear: the scheduler has no optimizer, or several of which one matches.
    Two
    wrappers around one optimizer, or around the same param groups, count as one.
    """
    try:
        return _foreign(optimizer, scheduler)
    except Exception:  # A third-party property that raises must not stop a training.
        return None


def _foreign(optimizer: Any, scheduler: Any) -> Any | None:
    parts = list(nested(scheduler))
    moving = [part for part in parts if len(list(nested(part))) == 1]
    scheduler_layers = [own for part in moving if (own := list(_carried(part)))]
    if not scheduler_layers:
        scheduler_layers = [own for part in parts if (own := list(_carried(part)))]
    own_layers = list(opened(optimizer))
    if not scheduler_layers or any(_related(own_layers, own) for own in scheduler_layers):
        return None
    return scheduler_layers[0][0]


def _carried(part: Any) -> Iterator[Any]:
    several = getattr(part, "optimizers", None)
    listed = list(several) if isinstance(several, list | tuple) else []
    for candidate in [*listed, getattr(part, "optimizer", None)]:
        yield from opened(candidate)


def opened(optimizer: Any) -> Iterator[Any]:
    """Yield an optimizer and the optimizers that it wraps."""
    for _ in range(_DEPTH):
        if optimizer is None:
            return
        if hasattr(optimizer, "param_groups"):
            yield optimizer
        wrapped = (getattr(optimizer, name, None) for name in INNER)
        optimizer = next((inner for inner in wrapped if inner is not None), None)


def _related(left: list[Any], right: list[Any]) -> bool:
    if {id(each) for each in left} & {id(each) for each in right}:
        return True
    groups = [{id(group) for each in side for group in each.param_groups} for side in (left, right)]
    return bool(groups[0] & groups[1])
