"""Where constructors put their arguments, read from bytecode."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import CodeType

from lrtrack.capture.bytecode import cached, code_of, instructions, loaded


@dataclass
class Flow:
    """Where a constructor puts its arguments.

    Attributes:
        copies: argument → attributes that hold it unchanged.
        sources: attribute → arguments from which it is computed; None among them stands for
            anything else, such as an attribute that another class has set.
        passed_on: arguments of a call of another class's constructor.
    """

    copies: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, set[str | None]] = field(default_factory=dict)
    passed_on: set[str] = field(default_factory=set)


@cached
def flow_of(cls: type) -> Flow:
    """Read where the constructor that a class itself defines puts its arguments."""
    code = code_of(cls.__dict__.get("__init__"))
    if code is None or not code.co_argcount:
        return Flow()
    try:
        return _Tracer(code).flow()
    except Exception:  # an instruction of a later Python
        return Flow()


class _Tracer:
    """Follows arguments through a constructor's statements, in the order of its code.

    Branches are followed one after the other, so a result holds whatever branch is taken.
    """

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._self = code.co_varnames[0]
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # *args, **kwargs
        self._local: dict[str, set[str | None]] = {
            name: {name} for name in code.co_varnames[1:count]
        }
        self._copied: dict[str, str] = {name: name for name in self._local}
        self._flow = Flow()
        self._loads: list[tuple[str, str]] = []
        self._length = 0
        self._calls_constructor = False

    def flow(self) -> Flow:
        """Return where the arguments go."""
        operations = instructions(self._code)
        for at, op in enumerate(operations):
            name = op.opname
            self._length += name != "COPY"
            if name == "STORE_ATTR" and self._loads and self._loads[-1] == ("local", self._self):
                self._store(op.argval, self._goes_on(operations[at + 1 : at + 3]))
            elif name.startswith("STORE_FAST") or name == "STORE_DEREF":
                variable = op.argval[0] if isinstance(op.argval, tuple) else op.argval
                goes_on = not loaded(op) and self._goes_on(operations[at + 1 : at + 3])
                self._assign(variable, goes_on)
            elif name.startswith("POP_JUMP") or name == "POP_TOP":
                recent = {before.opname for before in operations[max(0, at - 3) : at]}
                if not recent & {"COPY", "END_FOR"}:  # else `x or y`, or a list that is built
                    self._end()
            elif name.startswith(("RETURN", "RAISE")):
                self._end()
            else:
                self._load(op)
            self._loads += [("local", variable) for variable in loaded(op)]
        return self._flow

    def _goes_on(self, following: Sequence[dis.Instruction]) -> bool:
        """Whether another target of an assignment follows: `self.a = self.b = x`, `a, b = x, y`."""
        if not following or following[0].opname.startswith("STORE"):
            return bool(following)
        is_own = loaded(following[0]) == (self._self,)
        return is_own and len(following) > 1 and following[1].opname == "STORE_ATTR"

    def _load(self, op: dis.Instruction) -> None:
        if op.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            self._calls_constructor |= op.argval == "__init__"
            if self._loads and self._loads[-1] == ("local", self._self):
                self._loads[-1] = ("attribute", op.argval)

    def _depends(self, loads: Iterable[tuple[str, str]]) -> set[str | None]:
        sources: set[str | None] = set()
        for kind, name in loads:
            if kind == "attribute":
                sources |= self._flow.sources.get(name, {None})
            elif name != self._self:
                sources |= self._local.get(name, set())
        return sources

    def _only(self) -> str | None:
        """Return the argument that a statement copies, if it does nothing else."""
        others = [load for load in self._loads if load != ("local", self._self)]
        short = self._length <= len(self._loads) + 1
        kind, name = others[0] if len(others) == 1 and short else ("", "")
        return self._copied.get(name) if kind == "local" else None

    def _store(self, attribute: str, goes_on: bool) -> None:
        argument = self._only()
        if argument is not None:
            self._flow.copies.setdefault(argument, []).append(attribute)
        before = self._flow.sources.get(attribute, set())
        self._flow.sources[attribute] = before | self._depends(self._loads[:-1])
        self._next(self._loads[:-1], goes_on)

    def _assign(self, variable: str, goes_on: bool) -> None:
        argument = self._only()
        self._local[variable] = self._local.get(variable, set()) | self._depends(self._loads)
        if argument is not None:
            self._copied[variable] = argument
        elif self._copied.get(variable) != variable:
            self._copied.pop(variable, None)
        self._next(self._loads, goes_on)

    def _next(self, loads: list[tuple[str, str]], goes_on: bool) -> None:
        """Begin the next target, with the same values, or the next statement."""
        self._end()
        if goes_on:
            self._loads, self._length = loads, len(loads) - 1

    def _end(self) -> None:
        if self._calls_constructor:
            self._flow.passed_on |= {name for name in self._depends(self._loads) if name}
        self._loads, self._length, self._calls_constructor = [], 0, False
