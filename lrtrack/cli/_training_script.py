"""Loads a training function named on the command line as `train.py` or `train.py:FUNCTION`."""

from __future__ import annotations

import inspect
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown

#: The function that is used if none is named.
DEFAULT = "train"
#: The name given to the script's module. It cannot be imported, so that its functions are pickled
#: by value for other processes.
_MODULE = "lrtrack_program"


def function_of(program: str) -> Callable[..., Any]:
    """Execute a file, without running its `__main__` block, and return one of its functions.

    Args:
        program: `FILE` or `FILE:FUNCTION`; the function takes one argument.

    Raises:
        UsageError: the file or function does not exist, or the file cannot be executed.
    """
    path, _, name = program.rpartition(":")
    if not path:
        path, name = program, DEFAULT
    file = Path(path)
    if not file.is_file():
        raise UsageError(
            f"File {path} does not exist. Fix: set --program to FILE.py or FILE.py:FUNCTION."
        )
    sys.path.insert(0, str(file.absolute().parent))  # as Python does for a main script
    try:
        namespace = runpy.run_path(path, run_name=_MODULE)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        location = f", line {lines[-1]}" if lines else ""
        raise UsageError(f"Cannot run {path}{location}: {type(error).__name__}: {error}") from error
    functions = [key for key, value in namespace.items() if _is_own(value)]
    function: Callable[..., Any] | None = namespace.get(name)
    if function is None or not callable(function):
        raise UsageError(f"In {path}: {unknown('function', name, functions)}")
    try:
        inspect.signature(function).bind({})
    except TypeError as error:
        raise UsageError(f"{name} in {path} must accept a trial's config: {error}") from error
    return function


def _is_own(value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__ == _MODULE
