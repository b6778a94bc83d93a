"""The optimizers of one training, each with its name and its scheduler.

They come as a list, as a mapping of names, or as a container: an object that has them in
`.optimizers` and steps them inside its own `step`. Those of single parameters also come as a
mapping of parameters, or behind an object; see `in_backward`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lrtrack.capture.describe import describe
from lrtrack.capture.in_backward import of_parameters
from lrtrack.capture.matching import SCHEDULERS, inside, matched
from lrtrack.capture.optimizers import (
    CONTAINERS,
    NoOptimizer,
    describe_optimizer,
    describe_together,
    described_device,
    device_of,
    has_hooks,
    is_engine,
    numbered,
    unwrap,
)
from lrtrack.capture.ownership import foreign, opened, optimizers_of
from lrtrack.errors import UsageError
from lrtrack.schedules import Schedule, side_by_side

#: More optimizers than this without names are one for each parameter, as where they step inside
#: `backward()`: they count as one optimizer.
MOST = 32


@dataclass(frozen=True)
class Part:
    """One optimizer of a training.

    Attributes:
        name: how metrics and fields call it; empty for an optimizer that is alone, and for very
            many without names.
        moved: the optimizer whose rate the scheduler moves, if it stands for this one.
    """

    name: str
    optimizer: torch.optim.Optimizer
    scheduler: Any
    moved: Any = None


@dataclass(frozen=True)
class Ensemble:
    """All optimizers of a training.

    Attributes:
        parts: at least one.
        containers: objects that step several of them in one `step`.
        engine: the engine that steps the optimizer, if one does.
        by_backward: whether each optimizer has one parameter, so that the first step inside
            `backward()` begins a round; without names, also the first one after it.
    """

    parts: tuple[Part, ...]
    containers: tuple[Any, ...] = ()
    by_backward: bool = False
    engine: Any = None

    @property
    def first(self) -> torch.optim.Optimizer:
        """The optimizer whose learning rate is the metric `lr`."""
        return self.parts[0].optimizer

    @property
    def named(self) -> bool:
        """Whether there are metrics and fields for each optimizer."""
        return bool(self.parts[0].name)

    def schedule(self) -> Schedule:
        """The schedule of each optimizer by name; that of all if it is one."""
        if self.named:
            return side_by_side({part.name: describe(part.scheduler) for part in self.parts})
        moved = (part.scheduler for part in self.parts if part.scheduler is not None)
        return describe(next(moved, None))

    def device(self) -> tuple[str, str]:
        """Type and name of the device that trains."""
        own = getattr(self.engine, "device", None)  # its optimizer may have no parameters here
        return described_device(own) if isinstance(own, torch.device) else device_of(self.first)

    def optimizer(self) -> dict[str, Any]:
        """The description of each optimizer by name; that of the first if they are one."""
        if self.named:
            return describe_together({part.name: part.optimizer for part in self.parts})
        return describe_optimizer(self.first)


def ensemble_of(optimizer: Any, scheduler: Any = None) -> Ensemble:
    """Return the optimizers that `track()` is given, with the scheduler of each.

    Args:
        optimizer: an optimizer or a wrapper; a list or a mapping of these; a container; an engine;
            None where no object makes the steps.
        scheduler: None, one scheduler, or schedulers in the same form as the optimizers.

    Raises:
        TypeError: one of them is no optimizer.
        UsageError: there is none, one occurs twice, a name is invalid, or the schedulers do not
            match the optimizers.
    """
    if is_engine(optimizer):
        own = getattr(optimizer, "lr_scheduler", None) if scheduler is None else scheduler
        return Ensemble((Part("", unwrap(optimizer), own),), engine=optimizer)
    for layer in (optimizer, *opened(optimizer)):
        inner = of_parameters(layer)
        if inner is not None:
            return _of_parameters(layer, inner, scheduler)
    containers: list[Any] = []
    optimizer = NoOptimizer() if optimizer is None else optimizer
    leaves = list(_leaves(optimizer, scheduler, "", containers))
    if len({id(own) for _, own, _ in leaves}) < len(leaves):
        raise UsageError("An optimizer is listed twice. Fix: pass each optimizer once.")
    if len(leaves) == 1:
        return Ensemble((Part("", *leaves[0][1:]),), ())
    single = all(_has_one_parameter(own) and not name for name, own, _ in leaves)
    if len(leaves) > MOST and not all(name for name, _, _ in leaves):
        return Ensemble(tuple(Part("", *leaf[1:]) for leaf in leaves), tuple(containers), single)
    names = numbered([name or type(own).__name__ for name, own, _ in leaves])
    parts = (Part(name, *leaf[1:]) for name, leaf in zip(names, leaves, strict=True))
    return Ensemble(tuple(parts), tuple(containers), single)


def _of_parameters(optimizer: Any, inner: Mapping[Any, Any], scheduler: Any) -> Ensemble:
    """Return optimizers of single parameters, which have no names and count as one.

    Args:
        optimizer: what `track()` was given.
        inner: the optimizers by parameter.
        scheduler: one of them all, of one of them, or of `optimizer`; or several in their form.
    """
    own = {id(value): unwrap(value) for value in inner.values()}
    optimizers = list(own.values())
    containers = (optimizer,) if has_hooks(optimizer) else ()
    if isinstance(scheduler, Mapping) and scheduler.keys() == inner.keys():
        by_optimizer = {id(inner[key]): each for key, each in scheduler.items()}
        schedulers: list[Any] = [by_optimizer[key] for key in own]
    elif _is_one(scheduler) and foreign(optimizer, scheduler) is None:
        moved = optimizer if hasattr(optimizer, "param_groups") else None
        first = Part("", optimizers[0], scheduler, moved)
        rest = (Part("", other, None) for other in optimizers[1:])
        return Ensemble((first, *rest), containers, True)
    elif _is_one(scheduler) and any(own.keys() & ids for ids in _stood_for(scheduler)):
        schedulers = [None] * len(optimizers)  # transformers' stand-in, which moves nothing
    else:
        schedulers = matched(optimizers, None, scheduler)
    kept: dict[int, Any] = {}
    for at, each in enumerate(schedulers):  # one that moves all of them counts once
        schedulers[at] = None if id(each) in kept else each
        kept[id(each)] = each
    pairs = zip(optimizers, schedulers, strict=True)
    return Ensemble(tuple(Part("", *pair) for pair in pairs), containers, True)


def _is_one(scheduler: Any) -> bool:
    several = isinstance(scheduler, Mapping | list | tuple)
    return scheduler is not None and not several and inside(scheduler, SCHEDULERS) is None


def _stood_for(scheduler: Any) -> Iterator[set[int]]:
    """Yield the ids of the optimizers of single parameters behind a scheduler's optimizer."""
    for optimizer in optimizers_of(scheduler):
        yield {id(own) for own in (of_parameters(optimizer) or {}).values()}


def _has_one_parameter(optimizer: torch.optim.Optimizer) -> bool:
    return sum(len(group["params"]) for group in optimizer.param_groups) == 1


def is_several(optimizer: Any) -> bool:
    """Whether this is a list, a mapping or a container of optimizers, of any length."""
    return _members(optimizer) is not None


def _members(optimizer: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    if isinstance(optimizer, Mapping | list | tuple):
        return optimizer
    return inside(optimizer, CONTAINERS)


def _leaves(
    optimizer: Any, scheduler: Any, name: str, containers: list[Any]
) -> Iterator[tuple[str, torch.optim.Optimizer, Any]]:
    """Yield name (perhaps empty), optimizer and scheduler of everything in `optimizer`."""
    members = _members(optimizer)
    if name and of_parameters(optimizer) is not None:
        raise UsageError(
            f"{name!r} is a container of one optimizer per parameter, without names. Fix: pass "
            "it to a block of its own, with a prefix."
        )
    if is_engine(optimizer):
        raise UsageError(
            f"A {type(optimizer).__name__} steps on its own. Fix: pass it to a block of its "
            "own, with a prefix."
        )
    if members is None:
        if isinstance(scheduler, Mapping | list | tuple):
            raise UsageError(
                "There are several schedulers for one optimizer. Fix: join them in one scheduler "
                "(SequentialLR, ChainedScheduler), or pass the optimizers as a list, too."
            )
        is_none = isinstance(optimizer, NoOptimizer)
        yield name, optimizer if is_none else unwrap(optimizer), scheduler
        return
    if not members:
        raise UsageError("There is no optimizer in the list. Fix: pass at least one.")
    if has_hooks(optimizer):
        containers.append(optimizer)
    keys = [_key(key) for key in members] if isinstance(members, Mapping) else None
    values = list(members.values()) if isinstance(members, Mapping) else list(members)
    schedulers = matched(values, keys, scheduler)
    for at, (own, moved_by) in enumerate(zip(values, schedulers, strict=True)):
        inner = "/".join(filter(None, [name, keys[at]])) if keys is not None else name
        yield from _leaves(own, moved_by, inner, containers)


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key or key == "name":
        raise UsageError(
            f"The name of an optimizer must be text, not empty and not 'name'; got {key!r}. Fix: "
            'choose names such as {"muon": …, "adamw": …}.'
        )
    return key
