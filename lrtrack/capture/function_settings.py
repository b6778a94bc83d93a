"""The settings that a callable carries, so that equal functions with others can be told apart.

A function has settings in its closure, its defaults, the object that it is bound to, and, in a
script, in global variables. A lambda has them among its constants too. Only plain values are
settings. Nothing of the user's is called, and what a training changes is left out.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch

from lrtrack.capture.bytecode import Use, changed_by, changing, code_of, names_used, use_of
from lrtrack.capture.given_rates import as_given
from lrtrack.capture.rebinding import rebound, rebound_global
from lrtrack.capture.safe_access import MISSING, instance_values, plain_value, stored

#: Names of counters and other state, in objects whose own code does not show that they change.
STATE = re.compile(
    r"optimizers?|base_lrs|verbose|best|finished|T_cur|T_i|num_bad_epochs|counter|\w+_counter|"
    r"((last|current|cur|global|num|n)_)?(lrs?|step|epoch|iter|iteration|update|batch)"
    r"(_(num|count|idx|index))?"
)
#: Names of the rate from which a schedule starts. A value that equals the optimizer's own is no
#: setting of the schedule: transformers' polynomial schedule copies the optimizer's rate.
_RATE = re.compile(
    r"_*((init|initial|base|start|peak|max|default|opt|optimizer|orig|original)_?)?"
    r"(lr|learning_rate|lr0)s?(_?(init|initial|base|start|peak|max|0))?|"
    r"_*(init|initial|base|start|peak)(_rate)?"
)
#: The longest list or mapping of settings.
_LONGEST = 32
_NOT_SETTINGS = (types.ModuleType, torch.optim.Optimizer)
_BUILTIN = types.BuiltinFunctionType


@dataclass
class Reading:
    """One reading of a scheduler's description.

    Attributes:
        rates: initial learning rates of the scheduler's optimizer.
        opaque: set when something that may hold settings cannot be read.
        inside: ids of the scheduler, functions and objects that are being read, which may contain
            themselves.
    """

    rates: tuple[float, ...] = ()
    opaque: bool = False
    inside: tuple[int, ...] = ()

    def missed(self) -> Any:
        """Note that something cannot be read."""
        self.opaque = True
        return MISSING


@dataclass
class Settings:
    """Settings of a callable.

    Attributes:
        function: what carries the name.
        values: values without a name.
        named: values by their names; not plain are only functions and unread arguments of a
            partial.
    """

    function: Any
    values: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)


def settings_of(function: Any, reading: Reading) -> Settings:
    """Return the settings of a function, a method, a builtin or a `functools.partial`."""
    if isinstance(function, functools.partial):
        return _of_partial(function, reading)
    if isinstance(function, types.MethodType):
        return Settings(function, named=_of_method(function, reading))
    if isinstance(function, types.FunctionType):
        return _of_function(function, reading)
    inner = instance_values(function).get("__wrapped__")
    if isinstance(inner, types.FunctionType):  # functools.lru_cache
        return Settings(function, named=_of_function(inner, reading).named)
    return Settings(function, values=_of_builtin(function, reading))


def _of_partial(function: Any, reading: Reading) -> Settings:
    inner = settings_of(function.func, reading)
    for value in (*function.args, *function.keywords.values()):
        if plain_value(value) is MISSING:
            _kept(value, None, reading)  # only notes it: the text shows its class
    named = {
        name: value
        for key, kept in function.keywords.items()
        for name, value in [as_given(key, kept, reading.rates)]
        if not is_optimizers(name, value, reading)
    }
    others = {k: v for k, v in inner.named.items() if k not in function.keywords}
    return Settings(inner.function, [*inner.values, *function.args], others | named)


def _of_builtin(function: Any, reading: Reading) -> list[Any]:
    """Return the object that a builtin method is bound to: `[1.0, 0.5].__getitem__`."""
    if not isinstance(function, _BUILTIN | types.MethodWrapperType):
        return []
    bound = function.__self__
    if bound is None or isinstance(bound, types.ModuleType | type):
        return []
    value = _kept(bound, None, reading)
    return [] if value is MISSING else [value]


def _of_function(function: types.FunctionType, reading: Reading) -> Settings:
    use = use_of(function.__code__)
    settings = Settings(function)
    wrapped = function.__dict__.get("__wrapped__")
    variables = dict(_closure(function))
    if not _says_its_code(function):
        program = _globals(function, use)
        # a counter of the program's loop, or a setting
        reading.opaque |= any(map(STATE.fullmatch, program))
        program = {name: value for name, value in program.items() if not STATE.fullmatch(name)}
        variables = program | _defaults(function) | variables
    for name, value in variables.items():
        if value is wrapped is not None:
            settings.named |= settings_of(wrapped, reading).named
        elif value is not function and not is_optimizers(name, value, reading):
            settings.named[name] = _kept(value, use, reading)
    settings.named = {k: v for k, v in settings.named.items() if v is not MISSING}
    if function.__name__ == "<lambda>":
        settings.values = list(use.numbers)
        if not settings.values and not settings.named:
            reading.missed()  # all such lambdas have one name
    return settings


def _says_its_code(function: types.FunctionType) -> bool:
    """Whether the name stands for one piece of code, as that of a library's function does."""
    return "<" not in function.__qualname__ and function.__module__ != "__main__"


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    mutated = use_of(function.__code__).mutated
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if name != "__class__" and name not in mutated and not rebound(function, name):
            yield name, value


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    mutated = use_of(code).mutated
    named = dict(zip(names, values, strict=True)) | (function.__kwdefaults__ or {})
    return {name: value for name, value in named.items() if name not in mutated}


def _globals(function: types.FunctionType, use: Use) -> dict[str, Any]:
    """Return the global variables of a script that a function reads; functions are no settings."""
    names = use.global_names - use.rebound - use.mutated
    values = {name: function.__globals__.get(name, MISSING) for name in sorted(names)}
    return {
        name: value
        for name, value in values.items()
        if not callable(value) and value is not MISSING and not rebound_global(function, name)
    }


def _of_method(method: types.MethodType, reading: Reading) -> dict[str, Any]:
    """Return the attributes that a method, with the methods it calls, reads of its object."""
    code, bound = code_of(method.__func__), method.__self__
    if code is None:
        reading.missed()
        return {}
    cls = bound if isinstance(bound, type) else type(bound)
    own = settings_of(method.__func__, reading).named
    if id(bound) in reading.inside:  # a method of the scheduler, whose arguments are read anyway
        return own
    use = use_of(code)
    return own | attributes_read(bound, names_used(cls, use.names), use, reading)


def attributes_read(thing: Any, names: Iterable[str], use: Use, reading: Reading) -> dict[str, Any]:
    """Return the plain values, and the functions, among some attributes of an object.

    Args:
        thing: the object, or a class.
        names: names that some code uses.
        use: what that code does with names inside mappings and objects.
        reading: notes what cannot be read.
    """
    cls = thing if isinstance(thing, type) else type(thing)
    values: dict[str, Any] = {}
    for name in sorted(set(names) - changed_by(cls, use)):
        value = stored(thing, name)
        if value is MISSING or is_optimizers(name, value, reading):
            continue
        is_setting = isinstance(value, dict) or name not in changing(cls)
        if STATE.fullmatch(name) or not is_setting:
            reading.missed()  # a setting, or something that others change in a training
            continue
        kept = _kept(value, use, reading)
        if kept is not MISSING:
            values[public_name(name)] = kept
    return values


def public_name(name: str) -> str:
    """Return an attribute's name without the underscores, or the class, that make it private."""
    return re.sub(r"^_[A-Za-z0-9]\w*?__(?=[A-Za-z])", "", name).strip("_") or name


def is_optimizers(name: str, value: Any, reading: Reading) -> bool:
    """Whether a value is the optimizer's initial rate, copied by a schedule that is relative."""
    if not reading.rates or not _RATE.fullmatch(name):
        return False
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(type(v) in (int, float) and v in reading.rates for v in values)


def _kept(value: Any, use: Use | None, reading: Reading) -> Any:
    """Return a setting as plain values and functions; MISSING, noted, if it cannot be read."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value if value is MISSING else _kept(value.value, use, reading)
    if type(value) in (list, set, frozenset, range) or isinstance(value, tuple):
        return _kept_items(value, use, reading)
    if isinstance(value, dict):
        return _kept_mapping(value, use, reading)
    if isinstance(value, _NOT_SETTINGS):
        return MISSING
    if isinstance(value, torch.Tensor | np.ndarray):
        return reading.missed()
    if callable(value) and not isinstance(value, torch.nn.Module | type):
        return value
    return _kept_object(value, use, reading)


def _kept_items(value: Any, use: Use | None, reading: Reading) -> Any:
    fields = getattr(type(value), "_fields", ())  # of a named tuple
    if use is not None and isinstance(fields, tuple) and use.names & set(fields):
        return _kept_mapping(dict(zip(fields, value, strict=True)), use, reading)
    if len(value) > _LONGEST:
        return reading.missed()
    items = [_kept(item, use, reading) for item in value]
    if any(item is MISSING for item in items):
        return reading.missed()
    try:
        return sorted(items) if isinstance(value, set | frozenset) else items
    except TypeError:
        return reading.missed()


def _kept_mapping(value: dict[Any, Any], use: Use | None, reading: Reading) -> Any:
    """Keep the entries that the code names, or else all: a whole config would hold the seed."""
    pairs = dict(dict.items(value))
    named = {k: v for k, v in pairs.items() if use is not None and k in use.words | use.names}
    pairs = named or pairs
    if len(pairs) > _LONGEST:
        return reading.missed()
    kept = {str(key): _kept(item, use, reading) for key, item in pairs.items()}
    return reading.missed() if MISSING in kept.values() else kept


def _kept_object(value: Any, use: Use | None, reading: Reading) -> Any:
    """Keep the attributes of an object, such as an `argparse.Namespace`, that the code names."""
    if id(value) in reading.inside:
        return MISSING  # it is being read already
    if use is None:
        return MISSING if isinstance(value, type) else reading.missed()
    inner = Reading(reading.rates, inside=(*reading.inside, id(value)))
    cls = value if isinstance(value, type) else type(value)
    kept = attributes_read(value, names_used(cls, use.names), use, inner)
    # a class is mostly there to be called, not to hold settings
    reading.opaque |= inner.opaque or not (kept or isinstance(value, type))
    return kept or MISSING
