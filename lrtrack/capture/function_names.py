"""Functions as text, so that schedules made of functions can be distinguished."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from lrtrack.capture.bytecode import changed_by, changing, code_of, names_used, use_of
from lrtrack.capture.function_settings import (
    STATE,
    Reading,
    Settings,
    is_optimizers,
    public_name,
    settings_of,
)
from lrtrack.capture.safe_access import MISSING, instance_values, plain_value, public
from lrtrack.fields import JSON

#: Attributes that are state, not parameters, of some callables.
_STATE = {"training"}
_DEPTH = 6


def function_text(function: Any, reading: Reading | None = None, depth: int = _DEPTH) -> str:
    """Name a callable, with the settings that it carries.

    Args:
        function: any callable.
        reading: notes whether something could not be read.
        depth: how deep functions inside functions are shown.

    Returns:
        `module.qualname` for a function, a method or a class;
        `module.qualname(0.5, steps=10)` with the arguments of a `functools.partial`, the variables
        of a closure, or the attributes that a bound method reads of its object;
        `module.ClassName(steps=10)` for a callable object, with its plain attributes.
    """
    notes = reading or Reading()
    if id(function) in notes.inside or not depth:
        notes.missed()
        return "…"
    inner = replace(notes, inside=(*notes.inside, id(function)))
    try:
        return _text(function, inner, depth)
    finally:
        notes.opaque |= inner.opaque


def _text(function: Any, reading: Reading, depth: int) -> str:
    name = _name(function)
    if name is None and not isinstance(function, functools.partial):
        params = _attributes(function, reading)
        return f"{_name(type(function))}({_arguments((), params, reading, depth)})"
    settings = _settings(function, reading)
    if isinstance(function, functools.partial):
        own = _name(settings.function) or function_text(settings.function, reading, depth - 1)
        return f"{own}({_arguments(settings.values, settings.named, reading, depth)})"
    if not settings.values and not settings.named:
        return str(name)
    return f"{name}({_arguments(settings.values, settings.named, reading, depth)})"


def _settings(function: Any, reading: Reading) -> Settings:
    try:
        return settings_of(function, reading)
    except Exception:  # an object with unusual special methods
        reading.missed()
        return Settings(function)


def _attributes(function: Any, reading: Reading) -> dict[str, Any]:
    """Return the settings among the attributes of a callable object."""
    cls = type(function)
    code = code_of(inspect.getattr_static(cls, "__call__", None))
    use = None if code is None else use_of(code)
    used = frozenset[str]() if use is None else names_used(cls, use.names)
    changed = frozenset[str]() if use is None else changed_by(cls, use)
    values = public(function)
    if not isinstance(function, torch.nn.Module):
        own = instance_values(function)
        private = {public_name(k): v for k, v in own.items() if k in used - changed}
        values = {k: v for k, v in private.items() if not STATE.fullmatch(k)} | values
    params = {
        key: value
        for key, value in values.items()
        if not {key, f"_{key}"} & (changed | _STATE) and not is_optimizers(key, value, reading)
    }
    known = {k: v for k, v in params.items() if _is_known(v) and k not in changing(cls)}
    unread = params.keys() - known.keys()
    unknown = use is None or isinstance(function, torch.nn.Module)
    reading.opaque |= unknown or any(key in used or f"_{key}" in used for key in unread)
    return known


def _arguments(
    positional: Iterable[Any], named: Mapping[str, Any], reading: Reading, depth: int
) -> str:
    texts = [_shown(value, reading, depth) for value in positional]
    return ", ".join(
        texts + [f"{key}={_shown(named[key], reading, depth)}" for key in sorted(named)]
    )


def _shown(value: Any, reading: Reading, depth: int) -> str:
    def other(inner: Any) -> JSON:
        # never its repr, which may contain an address that differs from run to run
        return function_text(inner, reading, depth - 1) if callable(inner) else _type_name(inner)

    plain = plain_value(value, other)
    if plain is MISSING:
        return _type_name(value)
    is_name = isinstance(plain, str) and not isinstance(value, str)
    return str(plain) if is_name else json.dumps(plain, ensure_ascii=False)


def _is_known(value: Any) -> bool:
    def other(inner: Any) -> JSON:
        return "" if _name(inner) or isinstance(inner, functools.partial) else MISSING

    return plain_value(value, other) is not MISSING


def _type_name(value: Any) -> str:
    return _name(type(value)) or "object"


def _name(function: Any) -> str | None:
    """Return `module.qualname`; None for an object without a name of its own."""
    try:
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
        module = getattr(function, "__module__", None)
    except Exception:  # an unusual __getattr__
        return None
    if not isinstance(name, str):
        return None
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name
