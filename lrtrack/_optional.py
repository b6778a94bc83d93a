"""Imports heavy or optional packages when they are first needed."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from lrtrack.errors import MissingPackage


def load(
    module: str, extra: str | None = None, package: str | None = None, at_least: str | None = None
) -> ModuleType:
    """Import `module`, or raise an error with the `pip install` command for it.

    Args:
        module: dotted module name.
        extra: the extra of lrtrack that installs it; None if it is a plain dependency.
        package: its name on PyPI; None: the first part of `module`.
        at_least: the oldest supported release, such as `"2.1"`; None: any.

    Raises:
        MissingPackage: the package is missing, or older than `at_least`.
    """
    package = package or module.partition(".")[0]
    if at_least is not None:
        _check(package, extra, at_least)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        requirement = f"lrtrack[{extra}]" if extra else package
        raise MissingPackage(
            f"{module} is not installed. Fix: pip install '{requirement}'"
        ) from error


def _check(package: str, extra: str | None, at_least: str) -> None:
    """Raise an error for a release older than `at_least`; an unknown version is accepted."""
    try:
        installed = version(package)
    except PackageNotFoundError:
        return  # the import fails with a better message
    if _numbers(installed) < _numbers(at_least):
        requirement = f"lrtrack[{extra}]" if extra else package
        raise MissingPackage(
            f"{package} {installed} is installed, but lrtrack needs {at_least} or later. "
            f"Fix: pip install -U '{requirement}' '{package}>={at_least}'"
        )


def _numbers(release: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, ignoring suffixes such as `rc1`."""
    match = re.match(r"\d+(\.\d+)*", release)
    return tuple(int(part) for part in match[0].split(".")) if match else (10**9,)
