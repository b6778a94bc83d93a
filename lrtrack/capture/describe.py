"""`describe()` turns any scheduler into a `Schedule`.

A parameter is a constructor argument that the instance keeps. torch keeps some under other names,
or only in the optimizer's param groups; `READERS` knows where. For other classes, the constructor's
bytecode says where. State that changes during training is left out: a description is the same
before, during and after it.

Frameworks whose schedulers are not stepped by torch's `step()` register them in `READERS` and
`OPENERS`, in their file in `integrations/`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim import lr_scheduler as torch_schedulers

from lrtrack.capture.argument_readers import READERS, Functions, Reader, read, shared
from lrtrack.capture.bytecode import changing
from lrtrack.capture.constructor_arguments import (
    OPTIMIZER,
    Constructor,
    arguments,
    is_scheduler,
)
from lrtrack.capture.function_names import function_text
from lrtrack.capture.function_settings import (
    STATE,
    Reading,
    settings_of,
)
from lrtrack.capture.optimizers import numbered
from lrtrack.capture.safe_access import (
    MISSING,
    lookup,
    number,
    plain_value,
    public,
    stored,
)
from lrtrack.fields import JSON
from lrtrack.schedules import CONSTANT, Schedule, side_by_side

#: Attributes in which schedulers keep the scheduler that they wrap.
INNER = ("scheduler", "lr_scheduler")
#: Fields of a run's schedule beside its parameters, which these must not overwrite.
_RESERVED = ("name", "id", "spec", "source", "curve")
#: The longest list or mapping copied from such a scheduler.
_SHORT = 32
#: Maximum depth to which wrappers around wrappers are opened.
_DEPTH = 10
#: Classes of wrappers that do not use `.scheduler` → function that returns the inner scheduler.
OPENERS: dict[type, Reader] = {}
#: Schedulers that a framework made by a name of its user → that name.
_CALLED: MutableMapping[Any, str] = WeakKeyDictionary()


def describe(scheduler: Any) -> Schedule:
    """Return the name and parameters of a scheduler.

    Args:
        scheduler: any scheduler of torch, including nested ones and subclasses; a wrapper with a
            scheduler in `.scheduler`; any object with public attributes; None for a constant
            schedule; a `Schedule`, which is returned unchanged; or the schedulers of several
            optimizers, as `track()` takes them: a list, a mapping, or an object with a list in
            `.schedulers`.

    Returns:
        A `Schedule` with the constructor's parameter names and the values given, or torch's
        defaults. A parameter is one value if all param groups share it, else a list. The
        named settings of a learning-rate function (arguments of a `functools.partial`, variables
        of a closure, attributes that a bound method reads) are parameters too. The result is the
        same at any time of a training, and does not depend on the optimizer's rate. An unknown
        object is described as far as possible; this never raises.
    """
    if scheduler is None:
        return Schedule(CONSTANT)
    if issubclass(type(scheduler), Schedule):
        return scheduler  # type: ignore[no-any-return]
    with contextlib.suppress(Exception):  # a list with unusual special methods
        listed = issubclass(type(scheduler), Mapping | list | tuple)
        several = scheduler if listed else _held(scheduler)
        if len(several):
            return _side_by_side(several)
    schedule = Schedule.from_dict(_described(scheduler, (), Reading()))
    is_still = schedule.name == "ConstantLR" and schedule.params.get("factor") == 1
    if is_still or schedule.name == CONSTANT:
        return Schedule(CONSTANT)  # how the spec `constant` is built, and a user's name for it
    return schedule


def _held(container: Any) -> list[Any] | tuple[Any, ...] | Mapping[Any, Any]:
    """Return the schedulers in a container, if they are those of several optimizers."""
    inside = stored(container, "schedulers")
    if not issubclass(type(inside), Mapping | list | tuple):
        return ()
    parts = list(inside.values()) if isinstance(inside, Mapping) else list(inside)
    optimizers = [_optimizer_of(part) for part in parts]
    # Others, such as Ignite's, hold schedulers that follow each other, of which some keep none.
    is_several = len(set(map(id, optimizers))) > 1 and MISSING not in optimizers
    return inside if is_several and all(map(is_scheduler, parts)) else ()


def _side_by_side(schedulers: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> Schedule:
    """Describe the schedulers of several optimizers, under the names that their run has."""
    if isinstance(schedulers, Mapping):
        own = {str(name): describe(scheduler) for name, scheduler in schedulers.items()}
    elif len(schedulers) == 1:
        return describe(schedulers[0])
    else:
        kinds = [type(_optimizer_of(scheduler)).__name__ for scheduler in schedulers]
        unknown = type(MISSING).__name__
        names = [str(at) if kind == unknown else kind for at, kind in enumerate(kinds, 1)]
        own = dict(zip(numbered(names), map(describe, schedulers), strict=True))
    return side_by_side(own)


def call(scheduler: Any, kind: str, name: str | None) -> None:
    """Describe a scheduler by the name by which the user chose it, not by its class's.

    Args:
        scheduler: the scheduler, perhaps wrapped.
        kind: the name of the class that says too little; others keep theirs.
        name: the user's name for it; None: there is none.
    """
    inner = _unwrapped(scheduler)
    if name and type(inner).__name__ == kind:
        _CALLED[inner] = name


def opaque(scheduler: Any) -> bool:
    """Whether a description cannot tell a scheduler from one with other settings.

    That is so where a function, or an object that it reads, holds settings that are not plain
    values: a tensor, a long table, an object whose attributes the code does not name, a class
    written in C; where all lambdas look alike (no settings, no numbers); and where a scheduler
    keeps an argument only in an attribute that changes during training.

    Args:
        scheduler: as for `describe`.
    """
    if scheduler is None or issubclass(type(scheduler), Schedule):
        return False
    reading = Reading()
    _described(scheduler, (), reading)
    return reading.opaque


def _described(scheduler: Any, outer: tuple[int, ...], reading: Reading) -> dict[str, JSON]:
    scheduler = _unwrapped(scheduler)
    name = _name(scheduler)
    if id(scheduler) in outer or len(outer) >= _DEPTH:
        return {"name": name}  # it contains itself
    inside = (*reading.inside, id(scheduler))
    own = replace(reading, rates=_rates(scheduler), inside=inside)
    try:
        params = _parameters(scheduler, (*outer, id(scheduler)), own)
    except Exception:
        params = {}
        own.missed()
    reading.opaque |= own.opaque
    renamed = {f"{key}_" if key in _RESERVED else key: value for key, value in params.items()}
    return {"name": name, **renamed}


def _name(scheduler: Any) -> str:
    called = None
    with contextlib.suppress(Exception):  # an object that cannot be referenced, or compared
        called = _CALLED.get(scheduler) if _CALLED else None
    return called or str(type(scheduler).__name__)


def _unwrapped(scheduler: Any) -> Any:
    for _ in range(_DEPTH):
        if issubclass(type(scheduler), torch_schedulers.LRScheduler):
            break
        opener = OPENERS.get(type(scheduler))
        inner = lookup(scheduler, "scheduler") if opener is None else read(opener, scheduler)
        if inner is MISSING or not is_scheduler(inner):
            break
        scheduler = inner
    return scheduler


def _rates(scheduler: Any) -> tuple[float, ...]:
    """Return the initial learning rates of a scheduler's optimizer."""
    try:
        optimizer = _optimizer_of(scheduler)
        groups = stored(optimizer, "param_groups")
        values = [group["initial_lr"] for group in groups if "initial_lr" in group]
        defaults = stored(optimizer, "defaults")
        values += [defaults["lr"]] if isinstance(defaults, dict) and "lr" in defaults else []
        return tuple(map(number, values))
    except Exception:  # not an optimizer of torch
        return ()


def _optimizer_of(scheduler: Any) -> Any:
    """Return the optimizer that a scheduler moves; MISSING if it has none."""
    owned = (stored(_unwrapped(scheduler), name) for name in OPTIMIZER)
    optimizer = next((own for own in owned if own is not MISSING), MISSING)
    for _ in range(_DEPTH):  # opens wrappers
        if optimizer is MISSING or stored(optimizer, "param_groups") is not MISSING:
            break
        optimizer = stored(optimizer, "optimizer")
    return optimizer


def _inner(value: Any, outer: tuple[int, ...], reading: Reading) -> JSON:
    """Describe a scheduler or a function inside a scheduler."""
    if isinstance(value, partial) or inspect.isroutine(value):
        return function_text(value, reading)
    if isinstance(value, type | torch.optim.Optimizer | torch.nn.Module):
        return MISSING
    if is_scheduler(value):
        return _described(value, outer, reading)
    return function_text(value, reading) if callable(value) else MISSING


def _parameters(scheduler: Any, outer: tuple[int, ...], reading: Reading) -> dict[str, JSON]:
    """Return the constructor parameters of the scheduler's classes, else its public attributes."""
    inner = partial(_inner, outer=outer, reading=reading)
    params: dict[str, JSON] = {}
    for cls in reversed(type(scheduler).__mro__):
        if cls.__module__.startswith("torch.") or cls in READERS:
            params |= _known(scheduler, cls, inner, reading)
        else:
            params |= Constructor(scheduler, cls, inner, reading).params(params)
    for name in INNER:
        value = lookup(scheduler, name)
        if params.get(name, MISSING) is MISSING and is_scheduler(value):  # made by the constructor
            params[name] = inner(value)
    # schedules of transformers are a function with its settings
    params = _settings(lookup(scheduler, "lr_lambdas"), inner, reading) | params
    known_params = {name: value for name, value in params.items() if value is not MISSING}
    return known_params or _attributes(scheduler)


def _known(
    scheduler: Any, cls: type, inner: Callable[[Any], JSON], reading: Reading
) -> dict[str, JSON]:
    """Return the arguments of a class of which it is known where it keeps them."""
    params: dict[str, JSON] = {}
    readers = READERS.get(cls, {})
    for name in arguments(cls):
        value = read(readers[name], scheduler) if name in readers else _own(scheduler, name)
        if isinstance(value, Functions):
            params[name] = shared([function_text(function, reading) for function in value])
        else:
            params[name] = plain_value(value, inner)
    return params


def _own(scheduler: Any, name: str) -> Any:
    """Read an attribute; without it, its plural form, which holds one value per param group."""
    value = lookup(scheduler, name)
    several = lookup(scheduler, f"{name}s") if value is MISSING else None
    return shared(several) if isinstance(several, list | tuple) and several else value


def _settings(functions: Any, inner: Callable[[Any], JSON], reading: Reading) -> dict[str, JSON]:
    """Return the named settings of the one function that all param groups share."""
    first = functions[0] if isinstance(functions, list) and functions else None
    texts = (
        {function_text(function, reading) for function in functions}
        if isinstance(first, partial | FunctionType | MethodType)
        else ()
    )
    if len(texts) != 1:
        return {}
    named = settings_of(first, reading).named
    return {key: plain_value(value, inner) for key, value in named.items()}


def _attributes(scheduler: Any) -> dict[str, JSON]:
    state = changing(type(scheduler))
    params = {
        name: plain_value(value, longest=_SHORT)
        for name, value in public(scheduler).items()
        if not STATE.fullmatch(name) and name not in state
    }
    return {name: value for name, value in params.items() if value is not MISSING}
