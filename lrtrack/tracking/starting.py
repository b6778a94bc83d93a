"""`start()`: `track()` without a `with` block, for loops at the top level of a script."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

from lrtrack.tracking import unended
from lrtrack.tracking.context import Block, track
from lrtrack.tracking.run import TrackedRun

_P = ParamSpec("_P")


def _with_the_arguments_of(
    make: Callable[_P, Block],
) -> Callable[[Callable[..., TrackedRun]], Callable[_P, TrackedRun]]:
    """Give a function the signature and the documented arguments of another, for `help()` too."""

    def decorate(function: Callable[..., TrackedRun]) -> Callable[_P, TrackedRun]:
        signature = inspect.signature(make).replace(return_annotation="TrackedRun")
        function.__signature__ = signature  # type: ignore[attr-defined]
        if function.__doc__ and make.__doc__:  # not with `python -OO`
            arguments = make.__doc__[make.__doc__.index("    Args:") :].partition("    Returns:")[0]
            function.__doc__ = function.__doc__.replace("    Returns:", f"{arguments}    Returns:")
        return function

    return decorate


@_with_the_arguments_of(track)
def start(*args: Any, **options: Any) -> TrackedRun:
    """Record a training as `track()` does, until `run.end()` or the end of the program.

    Without `run.end()`, the run ends with the program:
    FINISHED, or FAILED after an uncaught exception or an exit with another status than 0. A program
    that is killed leaves a FAILED run, with the diagnoses that its records show. Until it ends, a
    run keeps its optimizer alive. `start()` with the optimizer of an open run ends that run first.
    So does `start()` at the same place, or with its result in the same variable, at the top level
    of a script or notebook, where a loop or a cell runs again.

    Returns:
        The open run.

    Raises:
        TypeError: the optimizer or scheduler is not one, or an argument is unknown.
        UsageError: an argument has an invalid value; the message lists the valid ones.
    """
    block = track(*args, **options)
    unended.end_before(block, sys._getframe(1))
    return block.__enter__()
