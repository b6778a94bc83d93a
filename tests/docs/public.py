"""What lrtrack promises to users, by name, and what its docstrings say of it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lrtrack
from lrtrack.errors import MissingPackage

#: Modules whose public names are promises, beside `lrtrack.__all__`.
MODULES = ("lrtrack.errors", "lrtrack.records", "lrtrack.trackers.base", "lrtrack.testing")
_ENTRY = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        path: dotted, as people write it.
        thing: what is there: a class, a function, or the function of a property.
        owner: the class that it belongs to; None: none.
    """

    path: str
    thing: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        """Its docstring, without indentation."""
        return inspect.getdoc(self.thing) or ""

    def section(self, title: str) -> str:
        """What stands below a title such as `Args`; empty where there is none."""
        found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", f"{self.doc}\n", re.MULTILINE)
        return found[1] if found else ""

    def entries(self, title: str) -> dict[str, str]:
        """Name → text, of such a section."""
        text = self.section(title)
        marks = list(_ENTRY.finditer(text))
        ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
        return {
            name.strip("* "): text[mark.end() : end]
            for mark, end in zip(marks, ends, strict=True)
            for name in mark[1].split(",")
        }

    @property
    def parameters(self) -> list[str]:
        """Names of what it is called with."""
        called = self.thing
        if inspect.isclass(called):
            made = "__init__" in vars(called) and "not by hand" not in self.doc
            fixed = dataclasses.is_dataclass(called) or getattr(called, "_is_protocol", False)
            called = called.__init__ if made and not fixed else None
        if called is None or isinstance(called, property) or not callable(called):
            return []
        known: Any = inspect.signature(called).parameters
        code = getattr(called, "__code__", None)
        forwards = code is None or code.co_flags & inspect.CO_VARARGS  # as `start` to `track`
        if hasattr(called, "__signature__") and not forwards:  # spells its `**options` out
            taken = code.co_argcount + code.co_kwonlyargcount + 1
            known = dict.fromkeys(code.co_varnames[:taken])
        return [name for name in known if name not in ("self", "cls")]


def names() -> list[Name]:
    """All that is public."""
    found = {name: getattr(lrtrack, name) for name in lrtrack.__all__ if name != "__version__"}
    listed = [Name(f"lrtrack.{name}", thing) for name, thing in found.items()]
    for module in [*MODULES, *_integrations()]:
        listed += _of_module(module)
    whole: dict[int, Name] = {}
    for name in listed:
        whole.setdefault(id(name.thing), name)
    every = [each for name in whole.values() for each in (name, *_members(name))]
    return list({id(each.thing): each for each in reversed(every)}.values())


def _integrations() -> list[str]:
    package = importlib.import_module("lrtrack.integrations")
    found = pkgutil.iter_modules(package.__path__, "lrtrack.integrations.")
    return [each.name for each in found if not each.name.rpartition(".")[2].startswith("_")]


def _of_module(name: str) -> list[Name]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of frameworks, while they load
        try:
            module = importlib.import_module(name)
        except MissingPackage:  # of a framework that only an environment of its own has
            return []
    chosen = getattr(module, "__all__", [each for each in vars(module) if each[0] != "_"])
    things = {each: getattr(module, each) for each in chosen}
    return [
        Name(f"{name}.{each}", thing)
        for each, thing in things.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and str(thing.__module__).startswith(name)
    ]


def _members(owner: Name) -> Iterator[Name]:
    """Methods and properties that are ours: those of a framework have its meaning."""
    if not inspect.isclass(owner.thing):
        return
    ours = [base for base in owner.thing.__mro__ if base.__module__.startswith("lrtrack")]
    others = [base for base in owner.thing.__mro__ if base not in ours and base is not object]
    for base in ours:
        for name, member in vars(base).items():
            member = getattr(member, "__func__", member)
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            if name.startswith(("_", "test_")) or not inspect.isfunction(function):
                continue
            if not any(hasattr(other, name) for other in others):
                yield Name(f"{owner.path}.{name}", function, owner.thing)


def raised(function: Callable[..., Any]) -> set[str]:
    """Names of the errors that a function raises: by itself, or by helpers of its own module."""
    module = inspect.getmodule(function)
    waiting, seen, found = [function], set(), set()
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                found.add(ast.unparse(node.exc.func).rpartition(".")[2])
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                helper = getattr(module, node.func.id, None)
                if node.func.id.startswith("_") and inspect.isfunction(helper):
                    waiting.append(helper)
    return found
