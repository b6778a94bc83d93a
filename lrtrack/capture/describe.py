"""`describe()` turns any scheduler into a `Schedule`.

A parameter is a constructor argument that the instance keeps. torch keeps some under other names,
or only in the optimizer's param groups; `READERS` knows where. For other classes, the constructor's
bytecode says where. State that changes during training is left out: a description is the same
before, during and after it.

Frameworks whose schedulers are not stepped by torch's `step()` register them in `READERS` and
`OPENERS`, in their file in `integrations/`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedulers

from lrtrack.capture.argument_readers import READERS, Functions, Reader, read, shared
from lrtrack.capture.bytecode import Flow, changing, flow_of, use_of_class
from lrtrack.capture.function_names import function_text
from lrtrack.capture.function_settings import (
    STATE,
    Reading,
    attributes_read,
    is_optimizers,
    public_name,
    settings_of,
)
from lrtrack.capture.safe_access import (
    MISSING,
    instance_values,
    lookup,
    number,
    plain_value,
    public,
    stored,
)
from lrtrack.fields import JSON
from lrtrack.schedules import CONSTANT, Schedule

#: Attributes in which schedulers keep the scheduler that they wrap.
INNER = ("scheduler", "lr_scheduler")
#: Constructor arguments that do not describe the schedule.
_NOT_PARAMETERS = {"self", "optimizer", "optimizers", "last_epoch", "verbose", "save_history"}
#: The longest list or mapping copied from such a scheduler.
_SHORT = 32
#: Maximum depth to which wrappers around wrappers are opened.
_DEPTH = 10
#: Classes of wrappers that do not use `.scheduler` → function that returns the inner scheduler.
OPENERS: dict[type, Reader] = {}


def describe(scheduler: Any) -> Schedule:
    """Return the name and parameters of a scheduler.

    Args:
        scheduler: any scheduler of torch, including nested ones and subclasses; a wrapper with a
            scheduler in `.scheduler`; any object with public attributes; None for a constant
            schedule; or a `Schedule`, which is returned unchanged.

    Returns:
        A `Schedule` with the constructor's parameter names and the values given, or torch's
        defaults. A parameter is one value if all param groups share it, else a list. Keyword
        arguments of a `functools.partial` are parameters too. The result is the same at any time
        of a training. An unknown object is described as far as possible; this never raises.
    """
    if scheduler is None:
        return Schedule(CONSTANT)
    if issubclass(type(scheduler), Schedule):
        return scheduler  # type: ignore[no-any-return]
    schedule = Schedule.from_dict(_described(scheduler, (), Reading()))
    if schedule.name == "ConstantLR" and schedule.params.get("factor") == 1:
        return Schedule(CONSTANT)  # how the spec `constant` is built
    return schedule


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
    name = str(type(scheduler).__name__)
    if id(scheduler) in outer or len(outer) >= _DEPTH:
        return {"name": name}  # it contains itself
    own = replace(reading, rates=_rates(scheduler))
    try:
        params = _parameters(scheduler, (*outer, id(scheduler)), own)
    except Exception:
        params = {}
        own.missed()
    reading.opaque |= own.opaque
    # the schedule's own name must not be overwritten
    return {"name": name, **{"name_" if key == "name" else key: params[key] for key in params}}


def _unwrapped(scheduler: Any) -> Any:
    for _ in range(_DEPTH):
        if issubclass(type(scheduler), torch_schedulers.LRScheduler):
            break
        opener = OPENERS.get(type(scheduler))
        inner = lookup(scheduler, "scheduler") if opener is None else read(opener, scheduler)
        if inner is MISSING or not _steps(inner):
            break
        scheduler = inner
    return scheduler


def _rates(scheduler: Any) -> tuple[float, ...]:
    """Return the initial learning rates of a scheduler's optimizer."""
    try:
        optimizer = lookup(scheduler, "optimizer")
        groups = stored(optimizer, "param_groups")
        values = [group["initial_lr"] for group in groups if "initial_lr" in group]
        defaults = stored(optimizer, "defaults")
        values += [defaults["lr"]] if isinstance(defaults, dict) and "lr" in defaults else []
        return tuple(map(number, values))
    except Exception:  # not an optimizer of torch
        return ()


def _inner(value: Any, outer: tuple[int, ...], reading: Reading) -> JSON:
    """Describe a scheduler or a function inside a scheduler."""
    if isinstance(value, partial) or inspect.isroutine(value):
        return function_text(value, reading)
    if isinstance(value, type | torch.optim.Optimizer | torch.nn.Module):
        return MISSING
    if _steps(value):
        return _described(value, outer, reading)
    return function_text(value, reading) if callable(value) else MISSING


def _steps(value: Any) -> bool:
    return any("step" in cls.__dict__ or cls in READERS for cls in type(value).__mro__)


def _parameters(scheduler: Any, outer: tuple[int, ...], reading: Reading) -> dict[str, JSON]:
    """Return the constructor parameters of the scheduler's classes, else its public attributes."""
    inner = partial(_inner, outer=outer, reading=reading)
    params: dict[str, JSON] = {}
    for cls in reversed(type(scheduler).__mro__):
        if cls.__module__.startswith("torch.") or cls in READERS:
            params |= _known(scheduler, cls, inner, reading)
        else:
            params |= _Constructor(scheduler, cls, inner, reading).params(params)
    for name in INNER:
        value = lookup(scheduler, name)
        if params.get(name, MISSING) is MISSING and _steps(value):  # made by the constructor
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
    for name in _arguments(cls):
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


class _Constructor:
    """Finds the arguments of one class's constructor in a scheduler of that class."""

    def __init__(
        self, scheduler: Any, cls: type, inner: Callable[[Any], JSON], reading: Reading
    ) -> None:
        self._scheduler = scheduler
        self._inner = inner
        self._reading = reading
        self._names = _arguments(cls)
        self._rest = _rest(cls)
        self._flow: Flow = flow_of(cls)
        self._state = changing(type(scheduler))

    def params(self, others: dict[str, JSON]) -> dict[str, JSON]:
        """Return the arguments, under their names; else what was computed from them.

        Args:
            others: parameters of the classes below.
        """
        params = {name: self._plain(self._value(name)) for name in self._names}
        missing = {name for name, value in params.items() if value is MISSING}
        missing = (missing | self._rest) - self._flow.passed_on
        arguments: set[str | None] = {*self._names, *self._rest}
        for attribute, sources in self._flow.sources.items() if missing else ():
            if sources & missing and sources <= arguments and attribute not in self._state:
                value = self._plain(stored(self._scheduler, attribute))
                if value is not MISSING and params.get(public_name(attribute), MISSING) is MISSING:
                    params[public_name(attribute)] = value
                    missing -= sources
        self._reading.opaque |= any(map(self._is_lost, missing - self._rest))
        return {
            name: value for name, value in params.items() if not self._repeats(name, value, others)
        }

    def _repeats(self, name: str, value: JSON, others: dict[str, JSON]) -> bool:
        return value is MISSING and name in others

    def _value(self, name: str) -> Any:
        """Return the value of an argument from the first attribute that keeps it unchanged."""
        own = instance_values(self._scheduler)
        alike = [key for key in own if public_name(key).lower() == name.lower()]
        for attribute in (name, *self._flow.copies.get(name, ()), f"{name}s", *alike):
            value = MISSING if attribute in self._state else lookup(self._scheduler, attribute)
            if value is MISSING or self._is_optimizers(attribute, value):
                continue
            if attribute == f"{name}s" and isinstance(value, list | tuple) and value:
                return shared(value)
            if attribute != f"{name}s":
                return value
        return MISSING

    def _is_optimizers(self, attribute: str, value: Any) -> bool:
        """Whether an attribute is the optimizer's rate, which was taken from the optimizer."""
        sources = self._flow.sources.get(attribute, set())
        foreign = "optimizer" in sources or None in sources
        return foreign and is_optimizers(attribute, value, self._reading)

    def _plain(self, value: Any) -> JSON:
        plain = plain_value(value, self._inner)
        opaque_types = type | torch.optim.Optimizer | torch.nn.Module | torch.Tensor
        if plain is not MISSING or value is MISSING or isinstance(value, opaque_types):
            return plain
        use = use_of_class(type(self._scheduler))  # a config, of which the class reads attributes
        state = changing(type(value))
        settings = attributes_read(value, use.names, state, use, replace(self._reading))
        return plain_value(settings, self._inner) if settings else MISSING

    def _is_lost(self, name: str) -> bool:
        """Whether an argument is kept only where it cannot be read or does not last."""
        kept = [a for a, sources in self._flow.sources.items() if name in sources]
        values = [stored(self._scheduler, attribute) for attribute in kept]
        return bool(kept) and not any(value is not MISSING and _steps(value) for value in values)


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


def _signature(cls: type) -> list[inspect.Parameter]:
    if "__init__" not in cls.__dict__ or cls is object:
        return []
    try:
        return list(inspect.signature(cls.__dict__["__init__"]).parameters.values())
    except (TypeError, ValueError):  # written in C
        return []


def _arguments(cls: type) -> list[str]:
    """Return the names of the constructor's arguments that describe a schedule."""
    named = [
        parameter.name
        for parameter in _signature(cls)
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return [name for name in named if name not in _NOT_PARAMETERS and not name.startswith("_")]


def _rest(cls: type) -> set[str]:
    """Return the names of a constructor's `*args` and `**kwargs`."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {parameter.name for parameter in _signature(cls) if parameter.kind in several}
