"""What the code of functions and classes does with names, read from bytecode.

Nothing is called. Code that cannot be read (written in C, compiled by Cython) does nothing, as far
as this module can say.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar, cast

#: Methods that change a list, mapping or set in place.
_MUTATORS = frozenset(
    {
        "append", "appendleft", "add", "clear", "discard", "extend", "insert", "pop", "popitem",
        "popleft", "remove", "reverse", "setdefault", "sort", "update",
    }
)  # fmt: skip
#: Methods that give an object its settings, so that what they store is no change.
_SETTING_UP = ("__init__", "__new__", "__post_init__", "__setstate__", "load_state_dict")
#: Methods that schedulers and functions run in a training, although constructors may call them.
_RUNNING = ("step", "step_update", "get_lr", "__call__")
_SKIPPED = frozenset(
    {
        "CACHE", "COPY_FREE_VARS", "EXTENDED_ARG", "MAKE_CELL", "NOP", "NOT_TAKEN", "PRECALL",
        "PUSH_NULL", "RESUME",
    }
)  # fmt: skip
#: Number of code objects and classes whose reading is kept.
_KEPT = 512


_P = ParamSpec("_P")
_T = TypeVar("_T")


def cached(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Keep results by code or class; the cache's own type would refuse classes."""
    return cast(Callable[_P, _T], lru_cache(_KEPT)(function))


@dataclass(frozen=True)
class Use:
    """What a piece of code, with the functions inside it, does with names.

    Attributes:
        names: attributes that it reads or writes, whatever the object.
        words: texts among its constants.
        numbers: numbers among its constants in order, without 0 and 1.
        stored: attributes that it assigns, whatever the object.
        rebound: closure variables and global names that it assigns.
        global_names: global names that it reads.
        mutated: variables and attributes whose content it changes in place.
    """

    names: frozenset[str]
    words: frozenset[str]
    numbers: tuple[float, ...]
    stored: frozenset[str]
    rebound: frozenset[str]
    global_names: frozenset[str]
    mutated: frozenset[str]


def code_of(function: Any) -> CodeType | None:
    """Return the code of a Python function or method, inside decorators that say what they wrap."""
    for _ in range(8):
        if isinstance(function, staticmethod | classmethod | MethodType):
            function = function.__func__
        elif isinstance(function, property | cached_property):
            function = function.fget if isinstance(function, property) else function.func
        elif isinstance(function, FunctionType) and "__wrapped__" in function.__dict__:
            function = function.__dict__["__wrapped__"]
        else:
            break
    return function.__code__ if isinstance(function, FunctionType) else None


@cached
def use_of(code: CodeType) -> Use:
    """Read what a piece of code does with names."""
    names, words, numbers = set[str](), set[str](), list[float]()
    stored, rebound, global_names = set[str](), set[str](), set[str]()
    for op in instructions(code):
        value = op.argval
        if op.opname in _ATTRIBUTES:
            names.add(value)
            if not op.opname.startswith("LOAD"):
                stored.add(value)
        elif op.opname in ("STORE_DEREF", "STORE_GLOBAL"):
            rebound.add(value)
        elif op.opname == "LOAD_GLOBAL":
            global_names.add(value)
        elif op.opname in _CONSTANTS and _is_telling(value):
            numbers.append(value)
        elif op.opname in _CONSTANTS:
            values = value if isinstance(value, tuple | frozenset) else (value,)
            words.update(item for item in values if isinstance(item, str))
            if isinstance(value, tuple):
                numbers += [item for item in value if _is_telling(item)]
    mutated = set(_mutated(code))
    for inner in map(use_of, inner_code(code)):
        names |= inner.names
        words |= inner.words
        numbers += inner.numbers
        stored |= inner.stored
        rebound |= inner.rebound
        global_names |= inner.global_names
        mutated |= inner.mutated
    sets = map(frozenset, (stored, rebound, global_names, mutated))
    return Use(frozenset(names), frozenset(words), tuple(numbers), *sets)


_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR", "DELETE_ATTR")
_CONSTANTS = ("LOAD_CONST", "RETURN_CONST", "LOAD_SMALL_INT", "LOAD_CONST_IMMORTAL")


def _is_telling(value: Any) -> bool:
    return type(value) in (int, float) and value not in (0, 1)


def inner_code(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of the functions that are defined inside a piece of code."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def instructions(code: CodeType) -> tuple[dis.Instruction, ...]:
    """Return the instructions of code that do something; none if they cannot be read."""
    try:
        return tuple(op for op in dis.get_instructions(code) if op.opname not in _SKIPPED)
    except Exception:  # not bytecode of this interpreter
        return ()


def loaded(op: dis.Instruction) -> tuple[str, ...]:
    """Return the local and closure variables that an instruction loads."""
    name = op.opname
    if name.startswith("LOAD_FAST") or name in ("LOAD_DEREF", "LOAD_CLOSURE"):
        return op.argval if isinstance(op.argval, tuple) else (str(op.argval),)
    return (op.argval[1],) if name == "STORE_FAST_LOAD_FAST" else ()


def _mutated(code: CodeType) -> Iterator[str]:
    """Yield the variables and attributes whose content the code changes in place."""
    operations = instructions(code)
    for at, op in enumerate(operations):
        if op.opname in ("LOAD_ATTR", "LOAD_METHOD") and op.argval in _MUTATORS:
            yield from _name_at(operations, at - 1)
        elif op.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            end = at
            if operations[at - 1].opname == "SWAP":  # `x[i] += 1` copies `x` and `i` first
                copies = [n for n in range(1, at) if operations[n].opname == "COPY"]
                end = copies[-1] - 1 if copies else at
            yield from _name_at(operations, _start(operations, end) - 1)


def _start(operations: Sequence[dis.Instruction], end: int) -> int:
    """Return where the expression begins whose value is on top of the stack at `end`."""
    depth = 0
    for at in range(end - 1, -1, -1):
        op = operations[at]
        depth += dis.stack_effect(op.opcode, op.arg, jump=False)
        if depth == 1:
            return at
    return 0


def _name_at(operations: Sequence[dis.Instruction], at: int) -> tuple[str, ...]:
    """Return the variable or attribute that one instruction loads."""
    if at < 0:
        return ()
    op = operations[at]
    if op.opname in ("LOAD_ATTR", "LOAD_GLOBAL", "LOAD_NAME"):
        return (op.argval,)
    return loaded(op)[-1:]


def _functions(cls: type) -> dict[str, list[CodeType]]:
    """Return the code of all methods of a class and its bases, by name."""
    methods: dict[str, list[CodeType]] = {}
    for base in cls.__mro__:
        for name, value in base.__dict__.items():
            code = code_of(value)
            if code is not None:
                methods.setdefault(name, []).append(code)
    return methods


def _reached(methods: Mapping[str, list[CodeType]], roots: Iterable[str]) -> set[str]:
    """Return the names of the methods that `roots` call, directly or not, and their own."""
    reached: set[str] = set()
    waiting = [name for name in roots if name in methods]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [n for code in methods[name] for n in use_of(code).names if n in methods]
    return reached


@cached
def changing(cls: type) -> frozenset[str]:
    """Return the attributes that a class's methods change after the construction: its state.

    What a property stores is no change: it keeps what it has computed once.
    """
    methods = _functions(cls)
    set_up = _reached(methods, _SETTING_UP)
    running = _reached(
        methods, [name for name in methods if name not in set_up or name in _RUNNING]
    )
    return _changed(cls, running - set(_SETTING_UP))


@cached
def changed_by(cls: type, use: Use) -> frozenset[str]:
    """Return the attributes that some code of a class changes, with the methods that it calls."""
    return use.stored | use.mutated | _changed(cls, _reached(_functions(cls), use.names))


def _changed(cls: type, names: Iterable[str]) -> frozenset[str]:
    methods = _functions(cls)
    changers = [
        name
        for name in names
        if not isinstance(inspect.getattr_static(cls, name, None), property | cached_property)
    ]
    uses = [use_of(code) for name in changers for code in methods[name]]
    return frozenset().union(*(use.stored | use.mutated for use in uses))


@cached
def names_used(cls: type, names: frozenset[str]) -> frozenset[str]:
    """Return `names` and those that the methods and properties among them use in turn."""
    methods = _functions(cls)
    reached = _reached(methods, names)
    return names.union(*(use_of(inner).names for name in reached for inner in methods[name]))


@cached
def use_of_class(cls: type) -> Use:
    """Read what all methods of a class do with names."""
    uses = [use_of(code) for codes in _functions(cls).values() for code in codes]
    sets = (
        frozenset().union(*(getattr(use, name) for use in uses))
        for name in ("stored", "rebound", "global_names", "mutated")
    )
    names = frozenset[str]().union(*(use.names for use in uses))
    return Use(names, frozenset[str]().union(*(use.words for use in uses)), (), *sets)
