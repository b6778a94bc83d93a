"""Reads third-party objects without ever raising."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping
from enum import Enum
from types import FunctionType, MemberDescriptorType
from typing import Any, Final

import numpy as np
import torch

from lrtrack.fields import JSON


class _Missing(Enum):
    MISSING = 0


#: Marks a value that is missing, or that a `Schedule` cannot hold.
MISSING: Final = _Missing.MISSING

#: Values that are nested deeper are left out, because they may contain themselves.
_DEPTH = 6
#: JSON has no use for larger integers, and Python refuses to print much larger ones.
_BITS = 1024


def plain_value(
    value: Any, other: Callable[[Any], JSON] = lambda value: MISSING, longest: int = 10_000
) -> JSON:
    """Convert `value` to a form that a `Schedule` can hold; MISSING if that is impossible.

    Args:
        value: anything; tensors and NumPy numbers become Python numbers.
        other: converts values that are neither plain nor containers.
        longest: containers with more items are MISSING.
    """
    try:
        return _plain(value, other, longest, _DEPTH)
    except Exception:  # a third-party __iter__, __len__, …
        return MISSING


def lookup(thing: Any, name: str) -> Any:
    """Return the value that `thing` stores as `name`; MISSING if there is none.

    The instance takes precedence over its class, methods do not count as values, and `__getattr__`
    is not called, because its results are not stored.
    """
    try:
        own = _instance(thing)
        if name in own:
            return own[name]
        static = inspect.getattr_static(thing, name)
        if isinstance(static, FunctionType | staticmethod | classmethod):
            return MISSING
        return getattr(thing, name)
    except Exception:
        return MISSING


def stored(thing: Any, name: str) -> Any:
    """Return the plain value that an object, or its class, holds as `name`; else MISSING.

    No code of the object runs: methods, properties and other descriptors are MISSING.
    """
    try:
        own = _instance(thing)
        if name in own and not issubclass(type(thing), type):
            return own[name]
        static = inspect.getattr_static(thing, name)
        if isinstance(static, MemberDescriptorType):  # a slot
            return static.__get__(thing, type(thing))
        return MISSING if hasattr(type(static), "__get__") else static
    except Exception:
        return MISSING


def instance_values(thing: Any) -> dict[str, Any]:
    """Return names and values of all attributes that the instance itself holds."""
    names = list(_instance(thing))
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    attributes = {str(name): stored(thing, _mangled(thing, str(name))) for name in names}
    return {name: value for name, value in attributes.items() if value is not MISSING}


def _mangled(thing: Any, name: str) -> str:
    """Return the name under which a class stores a private slot."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    for cls in type(thing).__mro__:
        if f"_{cls.__name__.lstrip('_')}{name}" in cls.__dict__:
            return f"_{cls.__name__.lstrip('_')}{name}"
    return name


def public(thing: Any) -> dict[str, Any]:
    """Return names and values of the instance's own public attributes."""
    values = instance_values(thing)
    return {name: value for name, value in values.items() if not name.startswith("_")}


def number(value: Any) -> float:
    """Convert a value, such as a one-element tensor, to a float."""
    return float(value.item() if isinstance(value, torch.Tensor) else value)


def _instance(thing: Any) -> Mapping[str, Any]:
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except Exception:
        return {}
    return attributes if isinstance(attributes, Mapping) else {}


def _plain(value: Any, other: Callable[[Any], JSON], longest: int, depth: int) -> JSON:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist() if np.prod(value.shape) <= longest else MISSING
    if isinstance(value, Enum) and value is not MISSING:
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored
    if isinstance(value, numbers.Integral):
        return int(value) if int(value).bit_length() <= _BITS else MISSING
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping | list | tuple | range | set | frozenset):
        return _container(value, other, longest, depth - 1) if depth else MISSING
    return other(value)


def _container(value: Any, other: Callable[[Any], JSON], longest: int, depth: int) -> JSON:
    if len(value) > longest:
        return MISSING
    if isinstance(value, Mapping):
        pairs = {str(key): _plain(value[key], other, longest, depth) for key in value}
        return MISSING if MISSING in pairs.values() else pairs
    items = sorted(value) if isinstance(value, set | frozenset) else value
    listed = [_plain(item, other, longest, depth) for item in items]
    return MISSING if MISSING in listed else listed
