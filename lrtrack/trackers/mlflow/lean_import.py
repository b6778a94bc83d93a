"""Imports MLflow without pandas in lrtrack's own processes, which saves a fifth of the time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from lrtrack._optional import load
from lrtrack.settings import owns_process

#: What MLflow's client imports only if it is installed; `mlflow-skinny` comes without it.
_SPARED = "pandas"
#: Groups of entry points whose packages may be imported at the same time, and may need it.
_PLUGINS = ("mlflow.", "lrtrack.")
#: Packages whose entry points do not need it.
_KNOWN = ("mlflow.", "lrtrack.")

_lock = threading.Lock()


def load_mlflow() -> Any:
    """Import MLflow, without pandas if this process is lrtrack's own and has no plugins.

    pandas can be imported again afterwards. If MLflow does need it, it is imported too.

    Raises:
        MissingPackage: MLflow is not installed.
    """
    with _lock:
        if _can_be_lean():
            try:
                with _hidden(_SPARED):
                    return load("mlflow")
            except ImportError:
                for name in [name for name in sys.modules if f"{name}.".startswith("mlflow.")]:
                    del sys.modules[name]
        return load("mlflow")


def _can_be_lean() -> bool:
    """Whether MLflow is still to be imported, and only lrtrack and MLflow run in this process."""
    if not owns_process() or "mlflow" in sys.modules or _SPARED in sys.modules:
        return False
    entries = entry_points()
    groups = [group for group in entries.groups if group.startswith(_PLUGINS)]
    plugins = [entry for group in groups for entry in entries.select(group=group)]
    return all(entry.value.startswith(_KNOWN) for entry in plugins)


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Make `import package` fail during the block, as if it were not installed."""
    sys.modules[package] = None  # type: ignore[assignment]  # as Python's documentation says
    try:
        yield
    finally:
        sys.modules.pop(package, None)
