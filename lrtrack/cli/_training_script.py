"""Training programs named on the command line: `train.py`, `train.py:FUNCTION`."""

from __future__ import annotations

import inspect
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown

#: The function that is meant where none is named.
DEFAULT = "train"
#: What the program's module is called: none that can be imported, so that its functions travel to
#: other processes as they are.
_MODULE = "lrtrack_program"


def function_of(program: str) -> Callable[..., Any]:
    """Run a file, not as the main program, and return one of its functions.

    Args:
        program: `FILE` or `FILE:FUNCTION`; the function takes one argument.

    Raises:
        UsageError: there is no such file or function, or the file cannot be run.
    """
    path, _, name = program.rpartition(":")
    if not path:
        path, name = program, DEFAULT
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file {path}: --program takes FILE.py or FILE.py:FUNCTION.")
    sys.path.insert(0, str(file.absolute().parent))  # as if it were the main program
    try:
        found = runpy.run_path(path, run_name=_MODULE)
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        at = f", line {lines[-1]}" if lines else ""
        raise UsageError(f"{path}{at} cannot be run: {type(error).__name__}: {error}") from error
    functions = [key for key, value in found.items() if _is_own(value)]
    function: Callable[..., Any] | None = found.get(name)
    if function is None or not callable(function):
        raise UsageError(f"In {path}: {unknown('function', name, functions)}")
    try:
        inspect.signature(function).bind({})
    except TypeError as error:
        raise UsageError(f"{name} in {path} must take a trial's config: {error}") from error
    return function


def _is_own(value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__ == _MODULE
