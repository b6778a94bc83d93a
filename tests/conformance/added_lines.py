"""Programs that run twice: as their authors have them, and with the lines that record them.

A program is the body of a function, and runs at the top level of a module, as a script does. Lines
that end with `# added` record it; lines that end with `# truth` measure what must be recorded. The
program without both is its author's, so that no other line can differ.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch

from lrtrack.records import State
from lrtrack.tracking import unended

from .cases import LOCAL, add
from .truth import EXPERIMENT, Truth

ADDED, TRUTH = "  # added", "  # truth"
#: How many lines may record a program: the import, the start, and the end or `run.record()`.
MOST = 3

#: The options that name the run for the suite.
Options = dict[str, Any]
Program = Callable[[Truth, Options], None]


def program(name: str) -> Callable[[Program], Program]:
    """Adds a case that runs the decorated program with and without the lines that record it."""

    def register(function: Program) -> Program:
        add(name, lambda truth: _compare(function, truth), trackers=LOCAL)
        return function

    return register


def _compare(function: Program, truth: Truth) -> None:
    lines = _body(function)
    own = [line for line in lines if not line.endswith((ADDED, TRUTH))]
    options = {"name": truth.name, "experiment": EXPERIMENT, "flush_timeout": 0.0}

    alone = _run(function, own, {})
    tracked = _run(function, lines, {"truth": truth, "options": options})
    for kept in list(unended._open):  # as at the end of the program
        kept.block.end(State.FINISHED)

    assert sum(line.endswith(ADDED) for line in lines) <= MOST
    assert not any("lrtrack" in line for line in own[1:])
    assert alone == tracked


def _body(function: Program) -> list[str]:
    """The lines of a function's body, moved to the left margin."""
    source = textwrap.dedent(inspect.getsource(function)).splitlines()
    first = next(at for at, line in enumerate(source) if line.startswith("def ")) + 1
    return textwrap.dedent("\n".join(source[first:])).splitlines()


def _run(function: Program, lines: list[str], names: dict[str, Any]) -> dict[str, Any]:
    """Runs a program; returns all its weights by name, and the state of the random numbers."""
    torch.manual_seed(0)
    space = {**function.__globals__, **names}
    exec(compile("\n".join(lines), f"<{function.__name__}>", "exec"), space)
    weights = {
        name: [p.tolist() for p in value.parameters()]
        for name, value in space.items()
        if isinstance(value, torch.nn.Module)
    }
    assert weights
    return {**weights, "random numbers": torch.get_rng_state().tolist()}
