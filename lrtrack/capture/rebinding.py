"""Whether a variable that a function reads may change after the function was created."""

from __future__ import annotations

import sys
from types import CodeType, FrameType, FunctionType
from typing import Any

from lrtrack.capture.bytecode import code_of, inner_code, instructions, use_of


def rebound(function: FunctionType, name: str) -> bool:
    """Whether a variable of the enclosing function may change after `function` was created."""
    code = function.__code__
    outer = _enclosing(function)
    if name in use_of(code).rebound or outer is None:
        return name in use_of(code).rebound
    created = False
    for op in instructions(outer):
        if op.argval == code:
            created = True
        elif created and op.opname in ("STORE_DEREF", "STORE_NAME") and op.argval == name:
            return True
    return any(name in use_of(inner).rebound for inner in inner_code(outer) if inner != code)


def rebound_global(function: FunctionType, name: str) -> bool:
    """Whether a program assigns a global variable after it created `function`, as far as it shows.

    That is the program whose module is running now, or a function of it with `global`.
    """
    scope = function.__globals__
    for other in list(scope.values()):
        code = other.__code__ if isinstance(other, FunctionType) else None
        if code is not None and name in code.co_names and name in use_of(code).rebound:
            return True
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if frame.f_globals is scope and code.co_name == "<module>":
            created = [op.offset for op in instructions(code) if op.argval is function.__code__]
            begin = min([*created, frame.f_lasti])
            return any(
                op.opname in ("STORE_NAME", "STORE_GLOBAL") and op.argval == name
                for op in instructions(code)
                if op.offset > begin
            )
        frame = frame.f_back
    return False


def _enclosing(function: FunctionType) -> CodeType | None:
    """Return the code of the function in which another one was defined."""
    path = function.__qualname__.partition(".<locals>")[0].split(".")
    thing: Any = function.__globals__.get(path[0])
    for part in path[1:]:
        thing = vars(thing).get(part) if isinstance(thing, type) else None
    waiting = [code_of(thing)]
    while waiting:
        code = waiting.pop()
        if code is not None and function.__code__ in code.co_consts:
            return code
        waiting += [] if code is None else list(inner_code(code))
    return None
