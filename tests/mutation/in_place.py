"""Puts a mutant into modules that are imported already, which spares importing everything again."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

#: File, qualified name and first line of a function → the function objects made from that text.
Functions = dict[tuple[str, str, int], list[FunctionType]]


class NeedsImport(Exception):
    """The change is in what a module does only once, when it is imported."""


def functions_below(folder: Path) -> Functions:
    """Returns all function objects whose text is below a folder."""
    gc.unfreeze()  # tests/conftest.py froze them, and frozen objects are not listed
    found: Functions = {}
    for each in gc.get_objects():
        if type(each) is FunctionType:  # objects of other classes may have their own say
            code = each.__code__
            if code.co_filename.startswith(str(folder)):
                key = (code.co_filename, code.co_qualname, code.co_firstlineno)
                found.setdefault(key, []).append(each)
    gc.freeze()
    return found


def put(path: Path, source: str, mutated: str, functions: Functions) -> None:
    """Makes the process behave as if it had imported the mutated text of a module.

    Raises:
        NeedsImport: That is not possible, because the change is in a decorator, in the body of a
            class, or in a compound statement of the module; or the module is not imported so far,
            and whoever imports it would get the text on the disk.
    """
    if not any(getattr(each, "__file__", None) == str(path) for each in list(sys.modules.values())):
        raise NeedsImport(str(path))
    old, new = (compile(text, str(path), "exec", dont_inherit=True) for text in (source, mutated))
    outside = _outside_of_functions(source, mutated)
    pairs = [] if outside is None else list(_changed_functions(old, new))
    for before, after in pairs:
        for function in functions.get(_key(before), ()):
            function.__code__ = after
    if outside is None:
        raise NeedsImport(str(path))
    for statement in outside:
        _run_again(path, statement, functions)


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _changed_functions(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yields the code of each function that differs, with that of the functions around it."""
    before = [each for each in old.co_consts if isinstance(each, CodeType)]
    after = [each for each in new.co_consts if isinstance(each, CodeType)]
    if len(before) != len(after):
        raise NeedsImport(old.co_filename)
    for one, other in zip(before, after, strict=True):
        if one != other:
            if one.co_freevars != other.co_freevars:
                raise NeedsImport(old.co_filename)
            yield one, other
            yield from _changed_functions(one, other)


def _outside_of_functions(source: str, mutated: str) -> list[ast.stmt] | None:
    """Returns the changed statements to run again; None if that is not enough."""
    old, new = _emptied(source), _emptied(mutated)
    whole = ast.parse(mutated).body
    if len(old.body) != len(new.body):
        return None
    changed: list[ast.stmt] = []
    for before, after, intact in zip(old.body, new.body, whole, strict=True):
        if ast.dump(before) == ast.dump(after):
            continue
        if isinstance(after, ast.ClassDef) and isinstance(before, ast.ClassDef):
            defaults = _changed_defaults(before, after)
            if defaults is None:
                return None
            changed.extend(defaults)
        elif isinstance(after, ast.Assign | ast.AnnAssign) or _only_defaults(before, after):
            changed.append(intact)
        else:
            return None
    return changed


def _changed_defaults(before: ast.ClassDef, after: ast.ClassDef) -> list[ast.stmt] | None:
    """Returns the methods whose defaults differ; None if something else differs, too."""
    found: list[ast.stmt] = []
    if len(before.body) != len(after.body) or ast.dump(
        ast.Module([*before.decorator_list, *before.bases], [])  # type: ignore[list-item]
    ) != ast.dump(ast.Module([*after.decorator_list, *after.bases], [])):  # type: ignore[list-item]
        return None
    for one, other in zip(before.body, after.body, strict=True):
        if ast.dump(one) != ast.dump(other):
            if not _only_defaults(one, other):
                return None
            found.append(other)
    return found


def _only_defaults(before: ast.stmt, after: ast.stmt) -> bool:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    if not (isinstance(before, functions) and isinstance(after, functions)):
        return False
    return [ast.dump(each) for each in before.decorator_list] == [
        ast.dump(each) for each in after.decorator_list
    ]


class _Emptied(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = []
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]


def _emptied(source: str) -> ast.Module:
    """Returns a module's tree without what is in its functions."""
    tree = ast.parse(source)
    _Emptied().visit(tree)
    return tree


def _run_again(path: Path, statement: ast.stmt, functions: Functions) -> None:
    module = next(
        each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == str(path)
    )
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        _set_defaults(path, statement, module, functions)
        return
    before = dict(vars(module))
    _execute(path, statement, module)
    changed = {key for key, value in vars(module).items() if before.get(key) is not value}
    for other in ast.parse(path.read_text(encoding="utf-8")).body:  # what is computed from it
        if isinstance(other, ast.Assign | ast.AnnAssign) and other.lineno > statement.lineno:
            names = {each.id for each in ast.walk(other) if isinstance(each, ast.Name)}
            if names & changed:
                _execute(path, other, module)
                changed = {
                    key for key, value in vars(module).items() if before.get(key) is not value
                }
    for name in changed:
        _set_where_imported(name, before.get(name), vars(module)[name])


def _execute(path: Path, statement: ast.stmt, module: ModuleType) -> None:
    code = compile(ast.Module([statement], []), str(path), "exec")
    exec(code, vars(module))


def _set_where_imported(name: str, old: Any, new: Any) -> None:
    for each in list(sys.modules.values()):
        names = getattr(each, "__dict__", None)
        if names is not None and name in names and names[name] is old and old is not None:
            names[name] = new


def _set_defaults(
    path: Path,
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    module: ModuleType,
    every: Functions,
) -> None:
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    where = [key for key in every if key[0] == str(path) and key[2] == first]

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), str(path), "eval"), vars(module))

    for key in where:
        for each in every[key]:
            each.__defaults__ = tuple(map(value, function.args.defaults)) or None
            each.__kwdefaults__ = {
                arg.arg: value(default)
                for arg, default in zip(
                    function.args.kwonlyargs, function.args.kw_defaults, strict=True
                )
                if default is not None
            } or None
