"""Functions as text, so that schedules made of functions can be distinguished."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lrtrack.capture.safe_access import MISSING, plain_value, public
from lrtrack.fields import JSON

#: Attributes that are state, not parameters, of some callables.
_STATE = {"training"}
_DEPTH = 6


def function_text(function: Any, depth: int = _DEPTH) -> str:
    """Name a callable.

    Returns:
        `module.qualname` for a function, a method or a class;
        `module.qualname(0.5, steps=10)` for a `functools.partial`;
        `module.ClassName(steps=10)` for a callable object, with its public plain attributes.
    """
    if isinstance(function, functools.partial):
        inner = function_text(function.func, depth - 1) if depth else "…"
        return f"{inner}({_arguments(function.args, function.keywords, depth)})"
    name = _name(function)
    if name is not None:
        return name
    attributes = {key: value for key, value in public(function).items() if key not in _STATE}
    params = {key: value for key, value in attributes.items() if _is_known(value)}
    return f"{_name(type(function))}({_arguments((), params, depth)})"


def _arguments(positional: Iterable[Any], named: Mapping[str, Any], depth: int) -> str:
    texts = [_shown(value, depth) for value in positional]
    return ", ".join(texts + [f"{key}={_shown(named[key], depth)}" for key in sorted(named)])


def _shown(value: Any, depth: int) -> str:
    def other(inner: Any) -> JSON:
        # never its repr, which may contain an address that differs from run to run
        return function_text(inner, depth - 1) if callable(inner) and depth else _type_name(inner)

    found = plain_value(value, other)
    if found is MISSING:
        return _type_name(value)
    plain = isinstance(found, str) and not isinstance(value, str)
    return str(found) if plain else json.dumps(found, ensure_ascii=False)


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
