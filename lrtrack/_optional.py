"""The one door through which heavy or optional packages are imported late."""

from __future__ import annotations

import importlib
from types import ModuleType

from lrtrack.errors import UsageError


def load(module: str, extra: str | None = None) -> ModuleType:
    """Import `module` now, or say which `pip install` line brings it.

    Args:
        module: dotted module name.
        extra: the extra of lrtrack that installs it; None where it is a plain dependency.

    Raises:
        UsageError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        what = f"lrtrack[{extra}]" if extra else module.partition(".")[0]
        raise UsageError(
            f"{module} is not installed here; install it with: pip install '{what}'"
        ) from error
