"""Finds the arguments that a scheduler was constructed with in the scheduler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from lrtrack.capture.argument_readers import READERS, shared
from lrtrack.capture.bytecode import changing, use_of_class
from lrtrack.capture.constructor_flow import flow_of
from lrtrack.capture.function_settings import (
    Reading,
    attributes_read,
    is_optimizers,
    public_name,
)
from lrtrack.capture.safe_access import MISSING, instance_values, plain_value, stored
from lrtrack.fields import JSON

#: Names under which schedulers take and keep their optimizer.
OPTIMIZER = ("optimizer", "opt", "optim", "_optimizer")
#: Constructor arguments that do not describe the schedule.
_NOT_PARAMETERS = {"self", "last_epoch", "verbose", "save_history", "optimizers", *OPTIMIZER}


def is_scheduler(value: Any) -> bool:
    """Whether an object has a method `step`, or is known to be a scheduler without one."""
    return any("step" in cls.__dict__ or cls in READERS for cls in type(value).__mro__)


class Constructor:
    """Finds the arguments of one class's constructor in a scheduler of that class."""

    def __init__(
        self, scheduler: Any, cls: type, inner: Callable[[Any], JSON], reading: Reading
    ) -> None:
        self._scheduler = scheduler
        self._inner = inner
        self._reading = reading
        self._names = arguments(cls)
        self._rest = _rest(cls)
        self._flow = flow_of(cls)
        self._state = changing(type(scheduler))

    def params(self, others: dict[str, JSON]) -> dict[str, JSON]:
        """Return the arguments, under their names; else what was computed from them.

        Args:
            others: parameters of the classes below.
        """
        params = {name: self._plain(self._value(name)) for name in self._names}
        missing = {name for name, value in params.items() if value is MISSING}
        missing = (missing | self._rest) - self._flow.passed_on
        found: set[str | None] = set()
        for attribute, sources in self._computed(missing):
            value = self._plain(stored(self._scheduler, attribute))
            if value is not MISSING and params.get(public_name(attribute), MISSING) is MISSING:
                params[public_name(attribute)] = value
                found |= sources
        self._reading.opaque |= any(map(self._is_lost, missing - self._rest - found))
        return {k: v for k, v in params.items() if v is not MISSING or k not in others}

    def _computed(self, missing: set[str]) -> Iterator[tuple[str, set[str | None]]]:
        """Yield the lasting attributes that are computed from arguments which are not kept."""
        known: set[str | None] = {*self._names, *self._rest}
        for attribute, sources in self._flow.sources.items():
            if sources & missing and sources <= known and attribute not in self._state:
                yield attribute, sources

    def _value(self, name: str) -> Any:
        """Return the value of an argument from the first attribute that keeps it unchanged."""
        own = instance_values(self._scheduler)
        alike = [key for key in own if public_name(key).lower() == name.lower()]
        for attribute in (name, *self._flow.copies.get(name, ()), f"{name}s", *alike):
            value = MISSING if attribute in self._state else stored(self._scheduler, attribute)
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
        try:
            return self._settings(value)
        except Exception:  # an object with unusual special methods
            return self._reading.missed()

    def _settings(self, value: Any) -> JSON:
        plain = plain_value(value, self._inner)
        opaque_types = type | torch.optim.Optimizer | torch.nn.Module | torch.Tensor
        if plain is not MISSING or value is MISSING or isinstance(value, opaque_types):
            return plain
        # a config, of which the class reads attributes
        use = replace(use_of_class(type(self._scheduler)), stored=self._state, mutated=frozenset())
        settings = attributes_read(value, use.names, use, replace(self._reading))
        return plain_value(settings, self._inner) if settings else MISSING

    def _is_lost(self, name: str) -> bool:
        """Whether an argument is kept only where it cannot be read or does not last."""
        kept = [a for a, sources in self._flow.sources.items() if name in sources]
        values = [stored(self._scheduler, attribute) for attribute in kept]
        return bool(kept) and not any(
            value is not MISSING and is_scheduler(value) for value in values
        )


def _signature(cls: type) -> list[inspect.Parameter]:
    if "__init__" not in cls.__dict__ or cls is object:
        return []
    try:
        return list(inspect.signature(cls.__dict__["__init__"]).parameters.values())
    except (TypeError, ValueError):  # written in C
        return []


def arguments(cls: type) -> list[str]:
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
