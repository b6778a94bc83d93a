"""A copy of a scheduler that can be stepped while the user's own stays unchanged."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch.optim import lr_scheduler

from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.ownership import optimizers_of
from lrtrack.errors import UsageError

#: Modules whose schedulers hold nothing but numbers, except for `_OTHERS`.
_MODULES = (
    lr_scheduler.__name__,
    "lrtrack.capture.inverse_sqrt",
    "lrtrack.capture.own_schedulers",
    "lrtrack.capture.wrapping_schedulers",
)
_OTHERS = {
    lr_scheduler.LambdaLR,
    lr_scheduler.MultiplicativeLR,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.ChainedScheduler,
}


def stand_in(scheduler: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Copy a scheduler onto an optimizer with the same settings but without parameters.

    Returns:
        The copy, and the param groups whose `lr` it changes.

    Raises:
        UsageError: no optimizer was found in the scheduler, or it cannot be copied.
    """
    name = type(scheduler).__name__
    optimizers = list(optimizers_of(scheduler))
    if not optimizers:
        raise UsageError(f"{name} has no optimizer in .optimizer, so it cannot be simulated")
    memo: dict[int, Any] = {}
    groups: dict[int, list[dict[str, Any]]] = {}
    for optimizer in optimizers:
        own = optimizer.param_groups
        if id(own) not in groups:
            groups[id(own)] = [_settings(group) for group in own]
        memo[id(optimizer)] = _StandIn(optimizer, groups[id(own)])
    try:
        return copy.deepcopy(scheduler, memo), next(iter(groups.values()))
    except Exception as error:
        raise UsageError(f"{name} cannot be copied, so it cannot be simulated: {error}") from error


def replica(scheduler: Any) -> Any:
    """A copy of a scheduler as it is now, to find out later which rates it would have set.

    Returns:
        None for schedulers that depend on more than their steps, whose steps cannot be counted, or
        that hold objects of the user, which a copy could duplicate.
    """
    kinds = {type(part) for part in nested(scheduler)}
    if not kinds or not all(kind.__module__ in _MODULES for kind in kinds) or kinds & _OTHERS:
        return None
    try:
        return stand_in(scheduler)[0]
    except UsageError:
        return None


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in group.items() if key != "params"}
    return {**copy.deepcopy(settings), "params": [_parameter()]}


def _parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(()))


class _StandIn(torch.optim.SGD):
    """An optimizer with the groups that a scheduler changes; its steps do nothing."""

    def __init__(self, original: Any, groups: list[dict[str, Any]]) -> None:
        super().__init__([_parameter()], lr=0.0)
        self.defaults = dict(getattr(original, "defaults", {}))
        self.param_groups = groups
        # weak, so that a copy that is kept does not keep the optimizer alive
        self._original = weakref.ref(original)

        def step() -> None:
            """Do nothing; torch inspects this method to check the order of steps."""

        step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
        self.step = step  # type: ignore[method-assign, assignment]
        self._opt_called = True

    def __getattr__(self, name: str) -> Any:
        """Return another attribute that a scheduler reads, unless it is mutable."""
        original = self.__dict__.get("_original")
        value = getattr(None if original is None else original(), name)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise AttributeError(name)
