"""Mutants: lrtrack's modules with one operator, constant or keyword changed by cosmic-ray."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

import cosmic_ray.ast
import cosmic_ray.mutating
import cosmic_ray.plugins

#: Operators that take arguments, which need a choice by hand for each function.
_LEFT_OUT = {"VariableReplacer", "VariableInserter"}


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        file: The module, relative to the directory that holds the package.
        operator: cosmic-ray's name of the change, for example `core/NumberReplacer`.
        occurrence: Which of the places of that operator in the module is changed, from 0.
        line: The line of the change, from 1.
        column: Its column, from 0.
    """

    file: str
    operator: str
    occurrence: int
    line: int
    column: int

    @property
    def family(self) -> str:
        """The kind of change: many operators replace `+`, each by another one."""
        name = self.operator.rpartition("/")[2]
        return name.partition("_")[0]


def mutants_of(root: Path, package: str) -> list[Mutant]:
    """Returns all mutants of a package below `root`, such as `lrtrack/stats`, in a fixed order."""
    found: list[Mutant] = []
    for path in sorted((root / package).rglob("*.py")):
        found.extend(_mutants_of_file(root, path))
    return found


def sample(root: Path, mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Draws `size` places at random, and one mutant of each; all mutants if `size` is 0.

    Mutants that are no Python are left out: they would count as killed. What is drawn depends on
    the text of the line and its function's name, not on its number, so that a change elsewhere
    leaves most of a sample as it was.
    """
    if size == 0:
        return [mutant for mutant in mutants if _is_valid(root, mutant)]
    places: dict[tuple[str, int, int, str], list[Mutant]] = {}
    for mutant in mutants:
        key = (mutant.file, mutant.line, mutant.column, mutant.family)
        places.setdefault(key, []).append(mutant)
    ranked = sorted(places.values(), key=lambda each: _rank(root, each[0], seed))
    chosen = (min(each, key=lambda mutant: _rank(root, mutant, seed)) for each in ranked)
    return list(islice((mutant for mutant in chosen if _is_valid(root, mutant)), size))


def _is_valid(root: Path, mutant: Mutant) -> bool:
    """Returns whether cosmic-ray can make a mutant, and it compiles."""
    try:
        compile(apply(root, mutant)[1], mutant.file, "exec")
    except (AttributeError, SyntaxError):  # the first one for `except module.Error`
        return False
    return True


@lru_cache(maxsize=1000)
def apply(root: Path, mutant: Mutant) -> tuple[str, str]:
    """Returns the module's text, and its text with the change."""
    source = _source(root / mutant.file)
    operator = cosmic_ray.plugins.get_operator(mutant.operator)()
    visitor = cosmic_ray.mutating.MutationVisitor(mutant.occurrence, operator)
    tree = visitor.walk(cosmic_ray.ast.get_ast(source))
    if not visitor.mutation_applied:
        raise ValueError(f"{mutant} does not exist")
    return source, tree.get_code()


def changed_lines(source: str, mutated: str) -> tuple[str, str]:
    """Returns the lines that differ, before and after, without the indentation."""
    before, after = source.splitlines(), mutated.splitlines()
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old = before[start : len(before) - end]
    new = after[start : len(after) - end]
    return "\n".join(map(str.strip, old)), "\n".join(map(str.strip, new))


def _mutants_of_file(root: Path, path: Path) -> Iterator[Mutant]:
    source = _source(path)
    nodes = list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source)))
    without_effect = _without_effect(ast.parse(source))
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if name.rpartition("/")[2] in _LEFT_OUT:
            continue
        operator = cosmic_ray.plugins.get_operator(name)()
        occurrence = -1
        for node in nodes:
            for (line, column), _ in operator.mutation_positions(node):
                occurrence += 1
                if not any(start <= (line, column) < end for start, end in without_effect):
                    file = path.relative_to(root).as_posix()
                    yield Mutant(file, name, occurrence, line, column)


_Span = tuple[tuple[int, int], tuple[int, int]]


def _without_effect(tree: ast.Module) -> list[_Span]:
    """Returns where changes have no effect at run time: annotations, and imports for them."""
    spans: list[_Span] = []
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.expr):
            spans.append(_span(annotation))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            spans.append(_span(node))
    return spans


def _span(node: ast.stmt | ast.expr) -> _Span:
    end = (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    return (node.lineno, node.col_offset), end


def _rank(root: Path, mutant: Mutant, seed: int) -> str:
    """Returns a random text of a mutant for ordering."""
    line = _lines(root / mutant.file)[mutant.line - 1]
    text, indent = line.strip(), len(line) - len(line.lstrip())
    scope = scope_of(root / mutant.file, mutant.line)
    place = (seed, mutant.file, scope, text, mutant.column - indent, mutant.operator)
    # the two mutants of a number are told apart by their parity
    return hashlib.sha256(repr((*place, mutant.occurrence % 2)).encode()).hexdigest()


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _lines(path: Path) -> list[str]:
    return _source(path).splitlines()


@cache
def _statements(path: Path) -> list[range]:
    """Returns the lines of each statement of a module, of compound ones those of their head."""
    found = []
    for node in ast.walk(ast.parse(_source(path))):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else (node.end_lineno or node.lineno)
            found.append(range(node.lineno, max(end, node.lineno) + 1))
    return found


@cache
def _scopes(path: Path) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []

    def walk(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
                if not isinstance(child, ast.ClassDef):
                    found.append((child.lineno, child.end_lineno or child.lineno, inner))
            walk(child, inner)

    walk(ast.parse(_source(path)), "")
    return found


def scope_of(path: Path, line: int) -> str:
    """Returns the qualified name of the innermost function around a line, or an empty text."""
    around = [scope for scope in _scopes(path) if scope[0] <= line <= scope[1]]
    return max(around)[2] if around else ""


def lines_of_scope(path: Path, line: int) -> range:
    """Returns the lines of the innermost function around a line; all lines if there is none."""
    around = [scope for scope in _scopes(path) if scope[0] <= line <= scope[1]]
    if not around:
        return range(1, len(_source(path).splitlines()) + 1)
    start, end, _ = max(around)
    return range(start + 1, end + 1)


def lines_of_statement(path: Path, line: int) -> range:
    """Returns the lines of the statement around a line, of compound ones those of their head."""
    around = [lines for lines in _statements(path) if line in lines]
    return min(around, key=len, default=range(line, line + 1))
